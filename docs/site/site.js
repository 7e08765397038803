// A link to a recording becomes a player of it. Without the player it stays a link.
document.addEventListener("DOMContentLoaded", () => {
  if (!window.AsciinemaPlayer) return;
  for (const link of document.querySelectorAll('.md-content a[href$=".cast"]')) {
    const place = document.createElement("div");
    place.className = "recording";
    link.closest("p").after(place);
    AsciinemaPlayer.create(link.href, place, { idleTimeLimit: 2, poster: "npt:0:20", terminalFontFamily: "monospace" });
  }
});
