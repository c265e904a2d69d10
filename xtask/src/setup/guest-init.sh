#!/bin/busybox sh
# The whole user space of the test guest: a shell on the screen (tty1) and one on the serial line (ttyS0).
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /root
hostname guest
export HOME=/root TERM=linux PS1='guest# '
cd /root

# Ctrl-Alt-Del becomes SIGINT to this process instead of a reboot, so that it can be seen to arrive.
echo 0 > /proc/sys/kernel/ctrl-alt-del
trap 'echo "Ctrl-Alt-Del received" > /dev/tty1' INT

# A serial line carries no window size; programs that ask get the classic one.
stty -F /dev/ttyS0 rows 24 cols 80

clear > /dev/tty1
while :; do setsid -c sh -c 'echo "screen ready"; exec sh' < /dev/tty1 > /dev/tty1 2>&1; done &
# The serial shell comes second: its first prompt says that both are there.
until grep -q 'guest# ' /dev/vcs1; do usleep 20000; done
while :; do setsid -c sh -c 'echo "serial ready"; exec sh' < /dev/ttyS0 > /dev/ttyS0 2>&1; done &
while :; do wait; done
