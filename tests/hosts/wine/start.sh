#!/bin/sh
# Runs a Windows program in Wine, with a prefix of its own that stays in target/.
here=$(cd "$(dirname "$0")/../../.." && pwd)
export WINEPREFIX="$here/target/wine" WINEDEBUG=-all HOME="$here/target"
exec /usr/lib/wine/wine64 "$@"
