#!/bin/sh
# Makes the shop's database in an empty directory; a directory that is complete already stays as it is.
set -eu

complete="$PGDATA/seeded"
if [ -e "$complete" ]; then
    exit 0
fi
# A half-made database of an earlier try cannot be continued.
rm -rf "$PGDATA"

initdb --username=postgres --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync \
    --no-instructions
echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"

# Until it is filled it answers on its socket only, so nobody can see it half full.
pg_ctl --wait --silent start --options="--listen_addresses='' --unix_socket_directories=$PGHOST --fsync=off \
    --shared_buffers=128MB --maintenance_work_mem=128MB --max_wal_size=2GB --max_parallel_maintenance_workers=0"
psql --username=postgres --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file=/etc/shop/seed.sql
# A fast shutdown also saves the counters of dead rows.
pg_ctl --wait --silent stop --mode=fast
touch "$complete"
