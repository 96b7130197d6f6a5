#!/bin/bash
# pg-major.sh MAJOR [PREFIX]
#
# Makes PostgreSQL 17 (from Debian trixie) or 18 (from forky) available to the tests on an older Debian:
# its packages are extracted, with the C library they were built for, to PREFIX (target/parts/pg<MAJOR>
# unless given). Nothing is installed and nothing outside PREFIX changes. About 15 seconds and 150 MB.
# Needs mmdebstrap, patchelf and file (apt-get install), and root.
set -euo pipefail

major=${1:?pg-major.sh MAJOR [PREFIX]}
case $major in
  17) suite=trixie ;;
  18) suite=forky ;;
  *) echo "pg-major.sh: knows 17 and 18, not $major" >&2; exit 2 ;;
esac
prefix=${2:-$(cd "$(dirname "$0")/../.." && pwd)/target/parts/pg$major}
programs=$prefix/usr/lib/postgresql/$major/bin
libraries=$prefix/usr/lib/x86_64-linux-gnu

if [ -x "$programs/postgres" ] && "$programs/postgres" --version; then exit 0; fi

for tool in mmdebstrap patchelf file; do
  command -v $tool >/dev/null || { echo "pg-major.sh: needs $tool (apt-get install $tool)" >&2; exit 1; }
done

# Made beside its final place and moved there whole, so that an interrupted run leaves nothing that looks
# complete.
mkdir -p "$(dirname "$prefix")"
work=$(mktemp -d "$prefix.XXXXXX")
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' \
  --include="postgresql-$major,postgresql-client-$major,libc6" "$suite" "$work/root"

new=$work/new
mkdir -p "$new"/usr/{lib,lib64,share}
cp -a "$work/root/usr/lib/postgresql" "$work/root/usr/lib/x86_64-linux-gnu" "$new/usr/lib/"
cp -aL "$work/root/usr/lib64/ld-linux-x86-64.so.2" "$new/usr/lib64/"
cp -a "$work/root/usr/share/postgresql" "$new/usr/share/"
[ ! -e "$work/root/usr/share/zoneinfo" ] || cp -a "$work/root/usr/share/zoneinfo" "$new/usr/share/"
# Only just-in-time compilation and Perl need these, and they are most of the size.
rm -rf "$new/usr/lib/postgresql/$major/lib/bitcode" \
  "$new"/usr/lib/x86_64-linux-gnu/{libLLVM*,libgallium*,gconv,perl*,guile}

for binary in "$new/usr/lib/postgresql/$major/bin"/*; do
  if file -bL "$binary" | grep -q 'ELF.*dynamic'; then
    patchelf --set-interpreter "$prefix/usr/lib64/ld-linux-x86-64.so.2" \
      --set-rpath "$libraries" --force-rpath "$binary"
  fi
done
# The tests run servers as another user.
chmod -R a+rX "$new"
rm -rf "$prefix"
mv "$new" "$prefix"
"$programs/postgres" --version
