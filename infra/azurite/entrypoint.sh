#!/bin/sh
# The start of Azurite in its container. The API and the workers read the connection string from a
# volume as the user 10001, so Azurite runs as that user, too. Volumes of earlier releases belong to
# another user.
set -eu
user=10001
for folder in /data /storage-account; do
  mkdir -p "$folder"
  if [ -n "$(find "$folder" ! -user "$user" -print -quit)" ]; then chown -R "$user:$user" "$folder"; fi
  chmod 700 "$folder"
done
exec setpriv --reuid="$user" --regid="$user" --clear-groups \
  node start.js --azurite=node_modules/azurite/dist/src/azurite.js --location=/data --listen=0.0.0.0 --ports=10000,10001,10002 \
  --host=azurite --connection-file=/storage-account/connection-string
