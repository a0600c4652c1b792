# The images of Meterfabric. Any builder will do:
#
#   docker build --target dataplane -t meterfabric/dataplane .
#   docker build --target operator -t meterfabric/operator .
#
# Where pip needs a configuration or certificates of its own, give them as the secrets `pip` (a pip.conf) and
# `certificates` (a PEM file that the pip.conf names as /run/secrets/certificates): neither gets into a layer.
# `make images` does all that on a machine without Docker or a registry; it is what the tests run.

ARG DEBIAN=docker.io/library/debian:bookworm-slim

FROM ${DEBIAN} AS runtime
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt \
 && groupadd --gid 65532 meterfabric \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir / --shell /usr/sbin/nologin meterfabric

FROM runtime AS builder
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev libssl-dev python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
WORKDIR /build
COPY requirements-build.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    python3 -m venv tools \
 && tools/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement requirements-build.lock

FROM builder AS wheel
COPY . source
RUN tools/bin/pip wheel --no-index --no-build-isolation --no-deps --wheel-dir wheels ./source

# What others wrote changes seldom and what we wrote often, so each is a layer of its own.
FROM builder AS dataplane-packages
COPY requirements-dataplane.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    python3 -m venv --without-pip /opt/meterfabric \
 && tools/bin/pip --python /opt/meterfabric/bin/python install --no-cache-dir --require-hashes --no-deps \
    --only-binary :all: --requirement requirements-dataplane.lock

FROM dataplane-packages AS dataplane-program
COPY --from=wheel /build/wheels wheels
RUN tools/bin/pip --python /opt/meterfabric/bin/python install --no-index --no-deps --root /program wheels/*.whl

FROM builder AS operator-packages
COPY requirements-operator.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    python3 -m venv --without-pip /opt/meterfabric \
 && tools/bin/pip --python /opt/meterfabric/bin/python install --no-cache-dir --require-hashes --no-deps \
    --only-binary :all: --requirement requirements-operator.lock

FROM operator-packages AS operator-program
COPY --from=wheel /build/wheels wheels
RUN tools/bin/pip --python /opt/meterfabric/bin/python install --no-index --no-deps --root /program wheels/*.whl

FROM runtime AS operator
COPY --from=operator-packages /opt/meterfabric /opt/meterfabric
COPY --from=operator-program /program /
ENV PATH=/opt/meterfabric/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /
USER 65532:65532
CMD ["meterfabric-operator"]

# The last is what a build without a target makes.
FROM runtime AS dataplane
COPY --from=dataplane-packages /opt/meterfabric /opt/meterfabric
COPY --from=dataplane-program /program /
ENV PATH=/opt/meterfabric/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /
USER 65532:65532
CMD ["meterfabric", "--help"]
