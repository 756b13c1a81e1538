#!/bin/sh
# Makes a new Fernet key in the directory $1 for each object name on standard input.
# A Fernet key is 32 random bytes in URL-safe base64.
set -eu
umask 077
while read -r object; do
  mkdir -p "$1/$(dirname "$object")"
  head -c 32 /dev/urandom | base64 | tr '+/' '-_' > "$1/$object"
done
