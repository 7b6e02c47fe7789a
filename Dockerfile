# One image for every role; the command selects it: coordinator, worker, healthcheck.
#   docker build -t doctrain .      docker run doctrain coordinator
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# What changes seldom comes first: the dependencies stay cached while the code changes.
COPY requirements/build.txt requirements/server.txt requirements/
RUN python -m venv /build && /build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt \
 && python -m venv /opt/doctrain && /opt/doctrain/bin/pip install --require-hashes --only-binary :all: -r requirements/server.txt

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY clients clients
COPY mesh mesh
COPY coordinator coordinator
COPY worker worker
COPY server server
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . ./clients/python \
 && /opt/doctrain/bin/pip install --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim-bookworm
# bubblewrap shuts the children in that read documents; where the host forbids user namespaces, Landlock and a filter of system calls do.
RUN apt-get update && apt-get install --yes --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 doctrain && useradd --system --uid 10001 --gid doctrain --home-dir /var/lib/doctrain --create-home doctrain \
 && install --directory --owner doctrain --group doctrain /var/lib/doctrain/blobs
COPY --from=build /opt/doctrain /opt/doctrain
ENV PATH=/opt/doctrain/bin:$PATH PYTHONUNBUFFERED=1
# By number: what starts containers can then tell that it is not root.
USER 10001:10001
WORKDIR /var/empty
VOLUME /var/lib/doctrain/blobs
ENTRYPOINT ["doctrain-server"]
CMD ["--help"]
