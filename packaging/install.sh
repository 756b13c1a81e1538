#!/bin/sh
# Installs the extension for this machine: finds the archive of its platform in a release's SHA256SUMS, fetches it,
# compares the checksum, and unpacks it below a prefix.
#
#     install.sh [--from URL] [--prefix DIRECTORY]
#
# NOT RELEASED: there is no release page yet, so the address must be given. It is a directory that holds what `make
# dist-all` leaves in dist/, under http://, https:// or file://. The default prefix is /usr/local for root, else ~/.local.
set -eu

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

from=${JOURNAL_CRYPT_URL:-} prefix=
while [ $# -gt 0 ]; do
  case $1 in
    --from | --prefix) [ $# -gt 1 ] || fail "$1 needs a value" ;;
  esac
  case $1 in
    --from) from=$2 && shift 2 ;;
    --prefix) prefix=$2 && shift 2 ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit ;;
    *) fail "there is no option $1; --help lists them" ;;
  esac
done
[ -n "$from" ] || fail "there is no release page yet: name a directory with --from URL"
if [ -z "$prefix" ]; then
  if [ "$(id -u)" = 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
fi

# The platform, as the archives are called by it.
processor=$(uname -m)
case $processor in
  x86_64 | amd64) processor=x86_64 ;;
  aarch64 | arm64) processor=aarch64 ;;
  *) fail "there is no package for $processor" ;;
esac
case $(uname -s) in
  # Where both C libraries are, programs use glibc, which alone answers this.
  Linux) if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then system=linux; else system=linux-musl; fi ;;
  Darwin) system=macos ;;
  *) fail "there is no package for $(uname -s)" ;;
esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fetch() {
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --output "$folder/$1" "$from/$1"
  else
    wget -q -O "$folder/$1" "$from/$1"
  fi || fail "$from/$1 could not be fetched"
}

fetch SHA256SUMS
line=$(grep -E "^[0-9a-f]{64}  sqlite-journal-crypt-[0-9][0-9A-Za-z.+-]*-$system-$processor\.tar\.gz\$" "$folder/SHA256SUMS" || true)
[ -n "$line" ] || fail "$from has no package for $system-$processor"
[ "$(echo "$line" | wc -l)" -eq 1 ] || fail "$from has more than one package for $system-$processor"
archive=${line#*  }
fetch "$archive"
if command -v sha256sum >/dev/null; then found=$(sha256sum "$folder/$archive"); else found=$(shasum -a 256 "$folder/$archive"); fi
[ "${found%% *}" = "${line%% *}" ] || fail "$archive is not what SHA256SUMS says: nothing is installed"

mkdir "$folder/unpacked"
tar -xzf "$folder/$archive" -C "$folder/unpacked"
extension=$(cd "$folder/unpacked" && ls journal_crypt.*)

# A file takes the place of the old one, which processes that have it loaded keep.
put() {
  mkdir -p "$(dirname "$3")"
  cp "$2" "$3.new" && chmod "$1" "$3.new" && mv -f "$3.new" "$3"
}

put 755 "$folder/unpacked/$extension" "$prefix/lib/sqlite-journal-crypt/$extension"
for script in "$folder"/unpacked/sql/*.sql; do
  put 644 "$script" "$prefix/share/sqlite-journal-crypt/sql/$(basename "$script")"
done
for page in "$folder"/unpacked/man/*.1; do
  put 644 "$page" "$prefix/share/man/man1/$(basename "$page")"
done
for licence in "$folder"/unpacked/LICENSE-*; do
  put 644 "$licence" "$prefix/share/doc/sqlite-journal-crypt/$(basename "$licence")"
done
if [ -e "$folder/unpacked/journal-crypt" ]; then
  put 755 "$folder/unpacked/journal-crypt" "$prefix/bin/journal-crypt"
fi
echo "Installed. In the sqlite3 shell: .load $prefix/lib/sqlite-journal-crypt/journal_crypt"
