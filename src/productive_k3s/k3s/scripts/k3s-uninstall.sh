#!/bin/sh
# Written by productive-k3s, schema 1.
# Takes K3s off this host: runs k3s-killall.sh, then removes the service, its files and the data directory.
# K3S_DATA_DIR names another data directory. What is mounted below the data directory stays.

if [ "$(id -u)" -ne 0 ]; then
    exec sudo --preserve-env=K3S_DATA_DIR "$0" "$@"
fi

unit="@UNIT@"
data_dir="${K3S_DATA_DIR:-/var/lib/rancher/k3s}"
trap 'rm -f "/usr/local/bin/$unit-uninstall.sh"' EXIT

if [ -x /usr/local/bin/k3s-killall.sh ]; then
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
        rm -f "/usr/local/bin/$name"
    fi
done

# Empties a directory, but leaves every directory that is a mount point or holds one.
remove_unmounted() {
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -L "$entry" ] || [ -f "$entry" ]; then
            rm -f "$entry"
        elif [ -e "$entry" ]; then
            if cut -d ' ' -f 2 /proc/self/mounts | grep -q -F -x "$entry"; then
                continue
            elif cut -d ' ' -f 2 /proc/self/mounts | grep -q -F "$entry/"; then
                (remove_unmounted "$entry")
            else
                rm -rf --one-file-system "$entry"
            fi
        fi
    done
    rmdir "$1" 2>/dev/null
}

rm -rf --one-file-system /etc/rancher/k3s /run/k3s /run/flannel /run/productive-k3s /var/lib/kubelet
if [ -d "$data_dir" ]; then
    remove_unmounted "$data_dir"
fi
rm -f /usr/local/bin/k3s /usr/local/bin/k3s-killall.sh
exit 0
