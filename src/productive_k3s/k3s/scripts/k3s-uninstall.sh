#!/bin/sh
# Written by productive-k3s, schema 1.
# Takes K3s off this host: runs k3s-killall.sh, then removes the service, its files and the data directory.
# K3S_DATA_DIR names another data directory. What is mounted below the data directory stays. Where one of the folders
# is a link, what is in it goes, and the link stays. Below the data directory the same holds for the folders in which only
# K3s writes; other links go, and what is behind them stays.

if [ "$(id -u)" -ne 0 ]; then
    exec sudo --preserve-env=K3S_DATA_DIR "$0" "$@"
fi

unit="@UNIT@"
data_dir="${K3S_DATA_DIR:-/var/lib/rancher/k3s}"
trap 'rm -f "/usr/local/bin/$unit-uninstall.sh"' EXIT

# `productive-k3s uninstall` runs this text: it has stopped all by now, and its lock lies in its own folder.
if [ -z "$BY_PRODUCTIVE_K3S" ] && [ -x /usr/local/bin/k3s-killall.sh ]; then
    /usr/local/bin/k3s-killall.sh
fi
if command -v systemctl >/dev/null 2>&1; then
    systemctl disable "$unit"
    systemctl reset-failed "$unit"
fi
if command -v rc-update >/dev/null 2>&1; then
    rc-update delete "$unit" default
fi
rm -f "/etc/systemd/system/$unit.service" "/etc/systemd/system/$unit.service.env"
if command -v systemctl >/dev/null 2>&1; then
    systemctl daemon-reload
fi

for file in /etc/systemd/system/k3s*.service /etc/init.d/k3s*; do
    if [ -e "$file" ]; then
        echo "another K3s service is installed ($file): what they share stays"
        exit 0
    fi
done

for name in kubectl crictl ctr; do
    if [ -L "/usr/local/bin/$name" ]; then
        case "$(readlink "/usr/local/bin/$name")" in
        k3s | /usr/local/bin/k3s) rm -f "/usr/local/bin/$name" ;;
        esac
    fi
done

# Prints the mount points; the kernel writes a blank as \040 (proc(5)).
list_mounts() {
    cut -d ' ' -f 2 /proc/self/mounts | while read -r written; do
        printf '%b\n' "$written"
    done
}

# Empties a directory, but leaves every directory that is a mount point or holds one.
empty_unmounted() {
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -L "$entry" ] || [ -f "$entry" ]; then
            rm -f "$entry"
        elif [ -e "$entry" ]; then
            if list_mounts | grep -q -F -x "$entry"; then
                continue
            elif list_mounts | grep -q -F "$entry/"; then
                (empty_unmounted "$entry")
                rmdir "$entry" 2>/dev/null
            else
                rm -rf --one-file-system "$entry"
            fi
        fi
    done
}

# Removes a folder of K3s. Somebody may have put it on another disk: what is behind the link is what is meant.
remove_folder() {
    if [ -d "$1" ]; then
        empty_unmounted "$(readlink -f "$1")"
        if [ ! -L "$1" ]; then
            rmdir "$1" 2>/dev/null
        fi
    fi
}

# A link in the data directory goes with it, so what is behind it goes before. Into any other link nobody is led.
empty_linked() {
    for name in server/db server agent/containerd agent data; do
        if [ -L "$data_dir/$name" ]; then
            remove_folder "$data_dir/$name"
        fi
    done
}

# What says which cluster this host belonged to goes last: whoever is cut off in between can still tell.
for folder in /run/k3s /run/flannel /var/lib/kubelet "$data_dir/server/db"; do
    remove_folder "$folder"
done
rm -f "$data_dir"/agent/client-*.crt "$data_dir"/agent/client-*.key
empty_linked
for folder in "$data_dir" /etc/rancher/k3s; do
    remove_folder "$folder"
done
if [ -z "$BY_PRODUCTIVE_K3S" ]; then
    rm -rf --one-file-system /run/productive-k3s
fi
rm -f /usr/local/bin/k3s /usr/local/bin/k3s-killall.sh
exit 0
