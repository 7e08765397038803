#!/bin/sh
# Written by productive-k3s, schema 1.
# Stops K3s and everything it started on this host: services, containers, mounts, interfaces, routes, firewall rules.
# The datastore, the configuration and the images stay. K3S_DATA_DIR names another data directory.
# Ends with 1, and names them, where processes of containers cannot be ended.

if [ "$(id -u)" -ne 0 ]; then
    exec sudo --preserve-env=K3S_DATA_DIR "$0" "$@"
fi

data_dir="${K3S_DATA_DIR:-/var/lib/rancher/k3s}"
# Somebody may have put either on another disk: the kernel says what is behind the link.
real_dir="$(readlink -f "$data_dir" || echo "$data_dir")"
kubelet="$(readlink -f /var/lib/kubelet)"
# K3s brings its own iptables and ip, for hosts that have none.
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
    grep -l -a -e "^$data_dir/data/[^/]*/bin/containerd-shim" -e "^$real_dir/data/[^/]*/bin/containerd-shim" \
        /proc/[0-9]*/cmdline 2>/dev/null | cut -d / -f 3
}

# Prints "process parent" for each process that has not ended yet.
list_processes() {
    for directory in /proc/[0-9]*; do
        # The state and the parent follow the command, which stands in parentheses and may hold spaces.
        if read -r line 2>/dev/null <"$directory/stat"; then
            fields="${line##*) }"
            state="${fields%% *}"
            fields="${fields#* }"
            if [ "$state" != Z ]; then
                echo "${directory#/proc/} ${fields%% *}"
            fi
        fi
    done
}

# Prints the shims and all that descends from them.
list_containers() {
    shims="$(list_shims)"
    if [ -z "$shims" ]; then
        return
    fi
    processes="$(list_processes)"
    echo "$shims
--
$processes" | awk '
        $1 == "--" { table = 1; next }
        !table { doomed[$1] = 1; next }
        { parent[$1] = $2 }
        END {
            do {
                more = 0
                for (process in parent) {
                    if (!(process in doomed) && (parent[process] in doomed)) {
                        doomed[process] = 1
                        more = 1
                    }
                }
            } while (more)
            for (process in doomed) if (process in parent) print process
        }'
}

# What is killed ends in a moment, and what descends from it may have begun another one before.
kill_containers() {
    tries=0
    while [ "$tries" -lt 300 ]; do
        containers="$(list_containers)"
        if [ -z "$containers" ]; then
            return 0
        fi
        for process in $containers; do
            kill -9 "$process" 2>/dev/null
        done
        tries=$((tries + 1))
        sleep 0.2
    done
    echo "processes of containers cannot be ended:" $containers >&2
    return 1
}

# Whether something is mounted at a path or below it, as the kernel writes it.
is_in_use() {
    cut -d ' ' -f 2 /proc/self/mounts | while read -r other; do
        case "$other" in
        "$1" | "$1"/*) echo yes ;;
        esac
    done | grep -q yes
}

# Unmounts what lies below a prefix, deepest first, and removes the mount points: never what is still mounted there.
unmount_below() {
    prefix="$1"
    cut -d ' ' -f 2 /proc/self/mounts | sort -r | while read -r written; do
        # The kernel writes a blank as \040 (proc(5)).
        point="$(printf '%b' "$written")"
        case "$point" in
        "$prefix"*)
            umount -f "$point" 2>/dev/null || umount -l "$point" 2>/dev/null
            if ! is_in_use "$written"; then
                rm -rf --one-file-system "$point"
            fi
            ;;
        esac
    done
}

# With the backend host-gw the ways to the other nodes' pods are routes on the host's own interface.
remove_routes() {
    if [ -r /run/flannel/subnet.env ]; then
        sed -n -e 's/^FLANNEL_NETWORK=/-4 /p' -e 's/^FLANNEL_IPV6_NETWORK=/-6 /p' /run/flannel/subnet.env |
            while read -r family networks; do
                for network in $(echo "$networks" | tr , ' '); do
                    ip "$family" route show root "$network" 2>/dev/null | while read -r target via gateway rest; do
                        if [ "$via" = via ]; then
                            ip "$family" route delete "$target" via "$gateway"
                        fi
                    done
                done
            done
    fi
}

remove_network() {
    for path in /run/netns/cni-*; do
        if [ -e "$path" ]; then
            ip netns delete "${path##*/}"
        fi
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
        kept="$(printf '%s\n' "$rules" | grep -v -e 'KUBE-' -e 'CNI-' | grep -iv flannel)"
        if [ "$kept" != "$rules" ]; then
            printf '%s\n' "$kept" | "$1-restore"
        fi
    fi
}

stop_services
kill_containers
status=$?
unmount_below /run/k3s
unmount_below "${kubelet:-/var/lib/kubelet}/pods"
unmount_below "${kubelet:-/var/lib/kubelet}/plugins"
unmount_below /run/netns/cni-
remove_routes
remove_network
remove_rules iptables
remove_rules ip6tables
exit "$status"
