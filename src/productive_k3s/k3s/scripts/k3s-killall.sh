#!/bin/sh
# Written by productive-k3s, schema 1.
# Stops K3s and everything it started on this host: services, containers, mounts, interfaces, firewall rules.
# The datastore, the configuration and the images stay. K3S_DATA_DIR names another data directory.

if [ "$(id -u)" -ne 0 ]; then
    exec sudo --preserve-env=K3S_DATA_DIR "$0" "$@"
fi

data_dir="${K3S_DATA_DIR:-/var/lib/rancher/k3s}"
for programs in "$data_dir"/data/*/bin; do
    if [ -d "$programs" ]; then
        PATH="$PATH:$programs:$programs/aux"
    fi
done
export PATH

stop_services() {
    for file in /etc/systemd/system/k3s*.service; do
        if [ -s "$file" ]; then
            systemctl stop "$(basename "$file")"
        fi
    done
    for file in /etc/init.d/k3s*; do
        if [ -x "$file" ]; then
            "$file" stop
        fi
    done
}

# Prints the process ids of the shims of this data directory: containers outlive the service (KillMode=process).
list_shims() {
    for directory in /proc/[0-9]*; do
        if tr '\0' ' ' <"$directory/cmdline" 2>/dev/null | grep -q "^$data_dir/data/[^/]*/bin/containerd-shim"; then
            echo "${directory#/proc/}"
        fi
    done
}

# Prints the process given and all its descendants, parents first.
list_tree() {
    echo "$1"
    for directory in /proc/[0-9]*; do
        # The parent is the second field after the command, which stands in parentheses and may hold spaces.
        parent="$(sed 's/^.*) [^ ]* \([0-9]*\) .*$/\1/' "$directory/stat" 2>/dev/null)"
        if [ "$parent" = "$1" ]; then
            list_tree "${directory#/proc/}"
        fi
    done
}

kill_containers() {
    for shim in $(list_shims); do
        for process in $(list_tree "$shim"); do
            kill -9 "$process" 2>/dev/null
        done
    done
}

# Unmounts what lies below a prefix, deepest first, and removes the mount points.
unmount_below() {
    prefix="$1"
    cut -d ' ' -f 2 /proc/self/mounts | sort -r | while read -r point; do
        case "$point" in
        "$prefix"*)
            if umount -f "$point" 2>/dev/null || umount -l "$point" 2>/dev/null; then
                rm -rf --one-file-system "$point"
            fi
            ;;
        esac
    done
}

remove_network() {
    ip netns list 2>/dev/null | cut -d ' ' -f 1 | grep -e 'cni-' | while read -r namespace; do
        ip netns delete "$namespace"
    done
    for path in /sys/class/net/*/master; do
        if [ "$(basename "$(readlink "$path")")" = cni0 ]; then
            interface="${path%/master}"
            ip link delete "${interface##*/}" 2>/dev/null
        fi
    done
    for interface in cni0 flannel.1 flannel-v6.1 kube-ipvs0 flannel-wg flannel-wg-v6; do
        if [ -e "/sys/class/net/$interface" ]; then
            ip link delete "$interface"
        fi
    done
    if command -v tailscale >/dev/null 2>&1; then
        tailscale set --advertise-routes=
    fi
    rm -rf --one-file-system /var/lib/cni
}

# Rewrites the rules of one family without those of Kubernetes, CNI plugins and flannel.
remove_rules() {
    if command -v "$1-save" >/dev/null 2>&1 && command -v "$1-restore" >/dev/null 2>&1; then
        rules="$("$1-save" 2>/dev/null)" || return 0
        printf '%s\n' "$rules" | grep -v -e 'KUBE-' -e 'CNI-' | grep -iv flannel | "$1-restore"
    fi
}

stop_services
kill_containers
unmount_below /run/k3s
unmount_below /var/lib/kubelet/pods
unmount_below /var/lib/kubelet/plugins
unmount_below /run/netns/cni-
remove_network
remove_rules iptables
remove_rules ip6tables
exit 0
