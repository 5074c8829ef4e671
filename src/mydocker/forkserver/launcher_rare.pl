# The rest of launcher.pl, which is compiled when it is needed: signals, and a death by one.

our (%NR, $BLOCK, $UNBLOCK, $pid, $pidfd);
my $PIDFD_SEND_SIGNAL = 424;
my ($CONT, $TSTP) = (18, 20);

sub forward {
    my $number = $_[0] + 0;    # a number to syscall, too, which takes what is not one for an address
    syscall($PIDFD_SEND_SIGNAL, $pidfd, $number, 0, 0) == 0 || return;    # it has ended: its status is on the way
    return if $number != $TSTP || !has_stopped();
    kill($TSTP, $$);
    set_mask($UNBLOCK, pack("Q", bits($TSTP)));    # stops here
    set_mask($BLOCK, pack("Q", bits($TSTP)));      # continued again, or never stopped, in an orphaned process group
    syscall($PIDFD_SEND_SIGNAL, $pidfd, $CONT, 0, 0);
}

sub has_stopped {
    for (1 .. 100) {
        return 1 if (contents("/proc/$pid/stat") // return 0) =~ /\) T [^)]*\z/;
        select(undef, undef, undef, 0.002);
    }
    return 0;
}

# End as the worker ended, without a core: that has been written by the process that it is about.
sub die_by {
    my $number = shift;
    my $limit = "\0" x 16;
    syscall($NR{prlimit}, 0, 4, 0, $limit);
    substr($limit, 0, 8) = pack("Q", 0);
    syscall($NR{prlimit}, 0, 4, $limit, 0);
    kill($number, $$);
    set_mask($UNBLOCK, pack("Q", bits($number)));
    leave(128 + $number);
}

sub bits { my $set = 0; $set |= 1 << ($_ - 1) for @_; return $set }

1;
