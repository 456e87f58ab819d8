#!/bin/sh
# Ends what the demo started and removes its directory, once standard input
# ends: that is when the demo closes it, or when the demo is gone, whatever
# it died of.
#
# usage: janitor.sh DIRECTORY      DIRECTORY/pids/N stands for process group N

trap '' HUP INT TERM

dir=$1

# whether any group was left to take the signal
signal()
{
    found=1

    for file in "$dir"/pids/*; do
        if kill -s "$1" -- "-${file##*/}" 2>/dev/null; then
            found=0
        fi
    done

    return $found
}

# for at most N tenths of a second
wait_gone()
{
    tenths=$1

    while [ "$tenths" -gt 0 ] && signal 0; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
}

cat >/dev/null

signal TERM
signal CONT
wait_gone 50

if signal KILL; then
    wait_gone 10
fi

rm -rf -- "$dir"
