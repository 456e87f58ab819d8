#!/bin/sh
# Installs those of the packages named that are not there.
#
#     t/packages.sh PACKAGE…
#
# The tests and the demo start an nginx and a Redis of their own.  Those that
# come with a package installed here are not started: no surprise on port 80.
# Services that were there before are left to apt, as ever.

set -eu

missing=
held=
policy=/usr/sbin/policy-rc.d

for package in "$@"; do
    if ! dpkg-query -W -f '${Status}' "$package" 2> /dev/null \
        | grep -q 'ok installed'
    then
        missing="$missing $package"

        case $package in
        nginx|redis-server) held="$held $package" ;;
        esac
    fi
done

[ -n "$missing" ] || exit 0

if ! command -v apt-get > /dev/null; then
    echo "no apt-get here; the names on Debian:$missing"
    exit 0
fi

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo


# Debian's own way to say so, unless somebody uses it already.  It holds for
# as long as this script runs, even where that is killed and leaves it behind.

if [ -n "$held" ] && [ ! -e $policy ] && [ ! -h $policy ]; then
    trap '$sudo rm -f $policy' EXIT
    trap 'exit 1' HUP INT TERM

    $sudo tee $policy > /dev/null << END
#!/bin/sh
# Of $0, for the packages that it installs now; can be removed.
[ -d /proc/$$ ] || exit 0
for word in "\$@"; do
    for held in$held; do
        [ "\$word" != "\$held" ] || exit 101
    done
done
exit 0
END
    $sudo chmod 755 $policy
fi

echo "installing$missing"
$sudo apt-get update -q < /dev/null
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
    --no-install-recommends $missing < /dev/null

if [ -n "$held" ]; then
    echo "not started:$held; whether they start with the machine is" \
        "the distribution's: systemctl disable$held"
fi
