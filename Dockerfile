# Upkeep's one image: the operator, the runner of its Jobs, the maintenance page and the command line.
#
#   docker build -t localhost/upkeep:dev .
#
# The base is any Debian bookworm with Python 3.11. Where wheels are mounted at /wheels, and gitleaks at /scanners, nothing is
# downloaded; else gitleaks is built from its Go module, whose hash stands in operator/scanners/go.sum.
# The servers of PostgreSQL and Redis are there for restore tests, which start them on data of their own: PostgreSQL needs
# neither the cluster that Debian makes of it nor a compiler for its queries, and Debian's redis-check-rdb is the server.
# No package is searched for plugins of pydantic at every start: there are none.
# Bytecode is compiled here, because nothing can be written at run time, and never checked against its source.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG GO_IMAGE=golang:1.26-bookworm

FROM ${GO_IMAGE} AS scanners
COPY operator/scanners /scanners-module
WORKDIR /scanners-module
RUN set -eu; \
    mkdir /built; \
    if [ -x /scanners/gitleaks ]; then cp /scanners/gitleaks /built; \
    else CGO_ENABLED=0 GOBIN=/built go install -mod=readonly -trimpath -ldflags="-s -w" tool; fi

FROM ${BASE_IMAGE} AS program
COPY operator/upkeep /opt/upkeep/program/upkeep
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/upkeep/program

FROM ${BASE_IMAGE}
RUN set -eu; \
    if ! { ls /usr/lib/postgresql/*/bin/postgres && command -v restic && command -v redis-cli; } >/dev/null; then \
        apt-get update; \
        apt-get install --yes --no-install-recommends postgresql restic redis-tools; \
        rm -rf /var/lib/apt/lists/*; \
    fi; \
    rm -rf /var/lib/postgresql/* /usr/lib/*/libLLVM-*; \
    command -v redis-server >/dev/null || ln -s redis-check-rdb /usr/bin/redis-server; \
    echo "upkeep:x:65532:65532:Upkeep:/tmp:/usr/sbin/nologin" >>/etc/passwd; \
    echo "upkeep:x:65532:" >>/etc/group
COPY --from=scanners /built/gitleaks /usr/local/bin/gitleaks
COPY operator/requirements.lock /opt/upkeep/requirements.lock
# The libraries are not copied from a stage of their own: hashing them again would take most of a rebuild's time.
RUN set -eu; \
    python3 -m venv /opt/upkeep; \
    if [ -d /wheels ]; then offline="--no-index --find-links /wheels"; fi; \
    /opt/upkeep/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes ${offline:-} \
        --requirement /opt/upkeep/requirements.lock; \
    /opt/upkeep/bin/pip uninstall --yes --quiet pip setuptools; \
    python3 -m compileall -q --invalidation-mode unchecked-hash /opt/upkeep/lib
ENV PATH=/opt/upkeep/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYDANTIC_DISABLE_PLUGINS=__all__ \
    PYTHONPATH=/opt/upkeep/program \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
ENTRYPOINT ["python", "-m", "upkeep"]
COPY --from=program /opt/upkeep/program /opt/upkeep/program
