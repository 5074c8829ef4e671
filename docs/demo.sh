# What `make demo` runs inside of a container: prints what the kernel says there.
show() {
    for file in "$2" "$3"; do
        if [ -e "$file" ]; then echo "$1  $(cat "$file")  ($file)"; fi
    done
}
echo "hostname   $(hostname)"
echo "PID 1      $(tr '\0' ' ' < /proc/1/cmdline)"
echo "processes  $(cd /proc && echo [0-9]*)  (/proc)"
show "memory   " /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max
show "pids     " /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max
show "cpu      " /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max
