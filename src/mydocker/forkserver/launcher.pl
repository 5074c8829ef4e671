# The launcher (launcher.py says what it does and what it speaks) for hosts that have Perl, which starts in a
# quarter of the time: 2 ms instead of 9, of every command. It does the one common case, a forkserver that
# answers; whatever else comes up is left to launcher.py, which is executed instead.
#
#     perl launcher.pl PYTHON PACKAGES ENTRY ARGV0 ARGUMENT ...
#
# No module is loaded: constants of the kernel stand here as numbers, and what Perl has no function for is a
# system call. Numbers of others than these two architectures are launcher.py's to know. Perl takes a
# millisecond to compile 6 kB, so what few commands need is in launcher_rare.pl.

my ($python, $packages, @command) = @ARGV;
my $SKIPPED = 4;    # of what was executed: perl, this file, and the first two
if (sysopen(my $place, $packages, 012000000)) {    # O_PATH | O_CLOEXEC
    $packages = readlink("/proc/self/fd/" . fileno $place) // $packages;
}
my $machine = machine();
our %NR = $machine eq "x86_64"
    ? (sendmsg => 46, recvmsg => 47, fcntl => 72, newfstatat => 262, sched_getscheduler => 145, signalfd4 => 289,
       sigprocmask => 14, prlimit => 302)
    : (sendmsg => 211, recvmsg => 212, fcntl => 25, newfstatat => 79, sched_getscheduler => 120, signalfd4 => 74,
       sigprocmask => 135, prlimit => 261);
my $MSG_NOSIGNAL = 0x4000;    # no SIGPIPE for a server that has just been killed
our ($BLOCK, $UNBLOCK, $SETMASK) = (0, 1, 2);
# The set of signals 1 to 3, 10, 12, 14 to 16, 18, 20, 24, 26 to 30, and 34 to 64: all but NOT_FORWARDED of launcher.py.
my $FORWARDED = pack("Q", 0xfffffffe3e8aea07);
our ($pid, $pidfd);

delete $ENV{PERL_SKIP_LOCALE_INIT} if $ENV{PERL_SKIP_LOCALE_INIT} eq "mydocker";    # set by the script that executes this
main();

sub main {
    my $setting = $ENV{MYDOCKER_FORKSERVER} // "";
    give_up() if $machine !~ /^(x86_64|aarch64)$/ || $setting eq "0" || $packages !~ /-packages$/;
    my $runtime = $ENV{XDG_RUNTIME_DIR} // "";
    my $directory = $setting =~ m{^/} ? $setting : $> == 0 ? "/run/mydocker"
        : $runtime =~ m{^/} ? "$runtime/mydocker" : give_up();
    my @descriptors = inherited();
    my $terminal = pack("l", 0);
    give_up() if ioctl(STDIN, 0x540F, $terminal) && unpack("l", $terminal) != getpgrp;    # TIOCGPGRP
    my $identity = identity();
    my $path = sprintf("%s/forkserver-%016x.sock", $directory, unpack("%64Q*", padded($identity)));
    socket(my $connection, 1, 1, 0) || give_up();                                         # AF_UNIX, SOCK_STREAM
    connect($connection, pack("S a*", 1, "$path\0")) || give_up();
    my (undef, $uid) = unpack("l3", getsockopt($connection, 1, 17) // give_up());         # SO_PEERCRED
    give_up() if $uid != $>;
    # Blocked, a signal waits in the kernel until somebody can be told of it; none comes between two calls.
    my $before = set_mask($BLOCK, $FORWARDED);
    my $signals = syscall($NR{signalfd4}, -1, $FORWARDED, 8, 02000000);                   # SFD_CLOEXEC
    if ($signals < 0 || !send_request($connection, $identity, $before, @descriptors)
            || receive($connection, \$pid, \$pidfd) ne "A") {
        set_mask($SETMASK, $before);
        give_up();
    }
    open(my $queue, "<&=", $signals) || leave(1);
    my ($ready, $bits) = ("", "");
    vec($bits, fileno $_, 1) = 1 for $queue, $connection;
    while (select($ready = $bits, undef, undef, undef) < 1 || !vec($ready, fileno $connection, 1)) {
        sysread($queue, my $told, 128) || next;    # signalfd_siginfo
        rare();
        forward(unpack "L", $told);
    }
    my $kind = receive($connection, \my $result);
    ($kind, $result) = ("S", 9) if $kind eq "";    # server and worker are both gone: only SIGKILL does that
    leave($result) if $kind ne "S";
    rare();
    die_by($result);
}

sub rare { do "$packages/mydocker/forkserver/launcher_rare.pl" }

sub give_up {
    my $here = "$packages/mydocker/forkserver";
    my $start = "import sys\nsys.path.insert(0, sys.argv.pop(1))\nfrom launcher import main\ndel sys.path[0]\nmain()";
    exec {$python} $python, "-I", "-S", "-X", "utf8", "-c", $start, $here, @command;
    print STDERR "$python: $!\n";
    leave(127);
}

sub leave { exit $_[0] }

# uname(2): 63 on x86_64, where on aarch64 is read, which finds no such descriptor; and there 160. The fifth
# of six names of 65 bytes.
sub machine {
    my $names = "\0" x 390;
    syscall(63, $names) == 0 || syscall(160, $names) == 0 || return "";
    return unpack("x260 Z65", $names);
}

sub contents {
    open(my $file, "<", $_[0]) || return undef;
    sysread($file, my $data, 65536);
    return $data;
}

sub padded { $_[0] . "\0" x (-length($_[0]) % 8) }

# What came with execve: a descriptor without FD_CLOEXEC. 253 is MAX_DESCRIPTORS.
sub inherited {
    opendir(my $directory, "/proc/self/fd") || give_up();
    my @numbers = map { $_ + 0 } grep { /^\d/ } readdir $directory;
    my @found = sort { $a <=> $b } grep { syscall($NR{fcntl}, $_, 1, 0) == 0 } @numbers;    # F_GETFD
    give_up() if @found > 253 || "@found[0 .. 2]" ne "0 1 2";
    return @found;
}

sub identity {
    my @status = split /\n/, contents("/proc/self/status");
    my @parts = grep { /^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Cpus_allowed:|Mems_allowed:)/ } @status;
    push @parts, contents("/proc/self/$_") // give_up() for qw(limits cgroup oom_score_adj);
    push @parts, contents("/proc/self/attr/current") // "";
    push @parts, readlink("/proc/self/ns/$_") // give_up() for qw(cgroup ipc mnt net pid time user uts);
    for ("/", $python, $packages, "$packages/mydocker", "$packages/mydocker/__init__.py") {
        my $path = $_;
        my $found = "\0" x 144;    # struct stat: the numbers wanted are at the same places on both
        syscall($NR{newfstatat}, -100, $path, $found, 0) == 0 || give_up();
        my ($device, $inode, $seconds, $rest) = unpack("Q Q x72 q q", $found);
        push @parts, "$path $device $inode " . ($seconds * 1_000_000_000 + $rest);
    }
    push @parts, getpriority(0, 0) . " " . syscall($NR{sched_getscheduler}, 0);
    return join "\n", @parts;
}

# The mask that was.
sub set_mask {
    my ($how, $mask) = @_;
    my $before = "\0" x 8;
    syscall($NR{sigprocmask}, $how, $mask, $before, 8);
    return $before;
}

# The request of launcher.py, in the form of Python's marshal: a tuple of bytes, a number, a list of numbers, bytes.
sub send_request {
    my ($connection, $identity, $blocked, @descriptors) = @_;
    my $request = "(" . pack("V", 4) . "s" . pack("V/a*", $identity) . "i" . pack("V", $SKIPPED)
        . "[" . pack("V", scalar @descriptors) . join("", map { "i" . pack("V", $_) } @descriptors)
        . "s" . pack("V/a*", $blocked);
    my $data = pack("V", length $request) . $request;
    my $control = padded(pack("Q l l l*", 16 + 4 * @descriptors, 1, 1, @descriptors));    # SOL_SOCKET, SCM_RIGHTS
    return message($connection, "sendmsg", $data, $control, $MSG_NOSIGNAL) == length $data;
}

# sendmsg or recvmsg with one buffer, and one for the descriptors.
sub message {
    my ($connection, $call, undef, undef, $flags) = @_;
    my $vector = pack("P Q", $_[2], length $_[2]);
    my $header = pack("Q L x4 P Q P Q l x4", 0, 0, $vector, 1, $_[3], length $_[3], 0);
    return syscall($NR{$call}, fileno $connection, $header, $flags // 0);
}

# The kind of the next reply, empty at the end; its number and the first of two descriptors that came with it.
sub receive {
    my ($connection, $number, $descriptor) = @_;
    my ($data, $control) = ("\0" x 5, "\0" x 24);
    my $count = message($connection, "recvmsg", $data, $control, 0x40000000);    # MSG_CMSG_CLOEXEC
    return "" if $count <= 0;
    while ($count < 5) {
        $count += sysread($connection, $data, 5 - $count, $count) || return "";
    }
    $$descriptor = unpack("x16 l", $control) if $descriptor && unpack("Q", $control) == 24;
    $$number = unpack("x V", $data) + 0;
    return substr($data, 0, 1);
}
