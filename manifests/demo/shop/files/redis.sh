#!/bin/sh
# `serve` runs Redis as the cache of the shop; `fill` waits for it and puts 5,000 shopping carts in.
set -eu

password=$(cat /run/secrets/redis/password)

serve() {
    # The configuration comes by standard input, so that the password stands in no command line.
    exec redis-server - <<END
port 6379
bind * -::*
dir /tmp
save ""
appendonly no
maxmemory 64mb
maxmemory-policy allkeys-lru
requirepass $password
END
}

fill() {
    export REDISCLI_AUTH="$password"
    until [ "$(redis-cli ping 2>/dev/null)" = PONG ]; do
        sleep 0.1
    done
    redis-cli eval "
        for n = 1, 5000 do
            redis.call('HSET', 'cart:' .. n, 'customer', n, 'items', 1 + n % 5, 'total', (7 * n) % 300)
            redis.call('EXPIRE', 'cart:' .. n, 86400)
        end
        return redis.call('DBSIZE')
    " 0
}

"$1"
