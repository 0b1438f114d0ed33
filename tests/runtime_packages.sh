#!/usr/bin/env bash
# The libraries that the program loads are in runtime_packages (samples/packages.sh).
# usage: runtime_packages.sh PROGRAM
set -euo pipefail
source "$(dirname "$0")/../samples/packages.sh"
command -v dpkg-query > /dev/null || { echo "no Debian: skipped"; exit 77; }

libraries=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ -n "$libraries" ] || { echo "$1 needs no libraries?" >&2; exit 1; }
status=0
for library in $libraries; do
  package=$(dpkg-query -S "*/$(gcc -print-multiarch)/$library" | sed 's/:.*//' | sort -u)
  case " libc6 ${runtime_packages[*]} " in
    *" $package "*) ;;
    *) echo "$library is in ${package:-no package}, which runtime_packages lacks" >&2; status=1 ;;
  esac
done
exit $status
