"""The default seccomp policy: which system calls a container may make when no profile is given.

An allow-list with the meaning of Docker's default profile (https://github.com/moby/profiles, seccomp, as of
2026): whatever is not here fails with EPERM; clone3 fails with ENOSYS unless namespaces may be made, so that
C libraries fall back to clone, whose flags a filter can see (those of clone3 are behind a pointer); more is
allowed to who holds a capability, since it would be refused without. The tables name calls of all
architectures and of every kernel; what a kernel or a libseccomp has never heard of is skipped when the filter
is compiled.

Not in the list, and why: io_uring (its operations pass no filter), keyctl and add_key (keyrings have no
namespace), userfaultfd (a help in exploiting races), kexec, swapon, nfsservctl, vm86 and others that act on
the whole host or are obsolete; sockets of AF_VSOCK (reach the hypervisor, whatever the network namespace) and
of AF_ALG (a wide piece of kernel for no need of a container).

This module is data, imported when a container with the default policy is put together and not before.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

EPERM = 1
ENOSYS = 38

# ---------------------------------------------------------------------------- allowed to every container

_ALWAYS = {
    "files by descriptor": """
        close close_range copy_file_range creat dup dup2 dup3 fadvise64 fadvise64_64 fallocate fcntl fcntl64
        fdatasync flock fsync ftruncate ftruncate64 ioctl _llseek lseek open openat openat2 pread64 preadv
        preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice sync_file_range tee
        vmsplice write writev cachestat""",
    "files by name": """
        access chmod chown chown32 faccessat faccessat2 fchmod fchmodat fchmodat2 fchown fchown32 fchownat
        lchown lchown32 link linkat mknod mknodat name_to_handle_at readlink readlinkat rename renameat
        renameat2 symlink symlinkat truncate truncate64 umask unlink unlinkat""",
    "directories": "chdir fchdir getcwd getdents getdents64 mkdir mkdirat rmdir",
    "attributes and times": """
        fgetxattr flistxattr fremovexattr fsetxattr fstat fstat64 fstatat64 futimesat getxattr getxattrat
        lgetxattr listxattr listxattrat llistxattr lremovexattr lsetxattr lstat lstat64 newfstatat removexattr
        removexattrat setxattr setxattrat stat stat64 statx utime utimensat utimensat_time64 utimes""",
    "file systems": "fstatfs fstatfs64 listmount statfs statfs64 statmount sync syncfs",
    "watching files": "fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch",
    "waiting": """
        epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
        eventfd eventfd2 _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd
        signalfd4""",
    "asynchronous input and output": """
        io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get
        ioprio_set""",
    "memory": """
        brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap
        mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
        process_mrelease remap_file_pages""",
    "pipes, queues, System V": """
        ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
        mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 semctl semget semop semtimedop
        semtimedop_time64 shmat shmctl shmdt shmget""",
    "sockets, once made": """
        accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
        recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair""",
    "processes": """
        execve execveat exit exit_group fork getpgid getpgrp getpid getppid getsid gettid pidfd_open
        pidfd_send_signal prctl set_tid_address setpgid setsid vfork wait4 waitid waitpid""",
    "threads": """
        futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list get_thread_area
        rseq set_robust_list set_thread_area""",
    "identity": """
        capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid
        getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid
        setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32
        setreuid setreuid32 setuid setuid32""",
    "sandboxes of their own": "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
    "signals": """
        alarm kill pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
        rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack
        sigprocmask sigreturn tgkill tkill uretprobe""",
    "clocks and timers": """
        adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
        clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create
        timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
        timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times""",
    "scheduling and limits": """
        getcpu getpriority getrlimit getrusage prlimit64 sched_get_priority_max sched_get_priority_min
        sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
        sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
        sched_yield setpriority setrlimit ugetrlimit""",
    "the machine": "getrandom riscv_hwprobe sysinfo uname",
}

_SINCE_KERNEL = {
    # Before 4.8 ptrace could change a call after the filter had seen it (seccomp(2), "Caveats").
    (4, 8): "process_vm_readv process_vm_writev ptrace",
}

_BY_ARCHITECTURE = {
    "amd64": "arch_prctl modify_ldt",
    "386": "modify_ldt",
    "arm": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    "arm64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    "ppc64le": "swapcontext sync_file_range2",
    "riscv64": "riscv_flush_icache",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
}

# ------------------------------------------------------------------------- allowed to who holds a capability

_BY_CAPABILITY = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
        quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare""",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYSLOG": "syslog",
}

# -------------------------------------------------------------------------------- allowed by their arguments

# personality(2): PER_LINUX, PER_LINUX32, each also with UNAME26, and the question what it is now. Others
# switch protections off (ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC).
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# socket(2): every family up to AF_ROSE, then one by one: AF_NETBEUI 13, AF_SECURITY, AF_KEY, AF_NETLINK,
# AF_PACKET, AF_ASH 18, AF_RDS 21, AF_SNA 22, AF_PPPOX 24, AF_LLC 26, AF_IB, AF_MPLS, AF_CAN, AF_TIPC,
# AF_BLUETOOTH, AF_IUCV, AF_RXRPC 33, AF_PHONET 35, AF_IEEE802154 36, AF_NFC 39, AF_KCM 41, AF_QIPCRTR,
# AF_SMC, AF_XDP, AF_MCTP 45. Beside AF_ALG 38 and AF_VSOCK 40, families are missing that Linux has lost or
# that never had sockets.
_SOCKET_FAMILIES_BELOW = 12
_SOCKET_FAMILIES = (*range(13, 19), 21, 22, 24, *range(26, 34), 35, 36, 39, *range(41, 46))

# clone(2): CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET must all be clear.
_CLONE_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

# uname -m -> (Go's name, which profiles use, and the architectures whose calls such a kernel takes)
ARCHITECTURES = {
    "x86_64": ("amd64", ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")),
    "i686": ("386", ("SCMP_ARCH_X86",)),
    "aarch64": ("arm64", ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")),
    "armv7l": ("arm", ("SCMP_ARCH_ARM",)),
    "ppc64le": ("ppc64le", ("SCMP_ARCH_PPC64LE",)),
    "riscv64": ("riscv64", ("SCMP_ARCH_RISCV64",)),
    "s390x": ("s390x", ("SCMP_ARCH_S390X", "SCMP_ARCH_S390")),
    "loongarch64": ("loong64", ("SCMP_ARCH_LOONGARCH64",)),
}


def default_seccomp(
    capabilities: Collection[str], kernel_version: tuple[int, int], arch: str
) -> dict[str, Any]:
    """The ``linux.seccomp`` section for a container with these ``capabilities`` (its bounding set).

    ``kernel_version`` as ``(6, 18)``, ``arch`` as ``uname -m`` says it. An architecture that is not in the
    table gets the calls common to all.
    """
    name, architectures = ARCHITECTURES.get(arch, ("", ()))
    allowed = [call for group in _ALWAYS.values() for call in group.split()]
    for version, calls in _SINCE_KERNEL.items():
        if kernel_version >= version:
            allowed += calls.split()
    allowed += _BY_ARCHITECTURE.get(name, "").split()
    for capability, calls in _BY_CAPABILITY.items():
        if capability in capabilities:
            allowed += calls.split()
    syscalls = [_allow(*dict.fromkeys(allowed))]
    syscalls.append(_allow("socket", index=0, op="SCMP_CMP_LT", value=_SOCKET_FAMILIES_BELOW))
    syscalls += [_allow("socket", index=0, op="SCMP_CMP_EQ", value=family) for family in _SOCKET_FAMILIES]
    syscalls += [
        _allow("personality", index=0, op="SCMP_CMP_EQ", value=persona) for persona in _PERSONALITIES
    ]
    if "CAP_SYS_ADMIN" not in capabilities:
        flags = 1 if name == "s390x" else 0  # clone(2), "C library/kernel differences"
        syscalls.append(_allow("clone", index=flags, op="SCMP_CMP_MASKED_EQ", value=_CLONE_NEW, valueTwo=0))
        syscalls.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS})
    section: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": EPERM}
    if architectures:
        section["architectures"] = list(architectures)
    section["syscalls"] = syscalls
    return section


def _allow(*names: str, **condition: int | str) -> dict[str, Any]:
    entry: dict[str, Any] = {"names": list(names), "action": "SCMP_ACT_ALLOW"}
    if condition:
        entry["args"] = [condition]
    return entry
