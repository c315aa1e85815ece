# The image of tapcode: `docker build -t tapcode .`, or `docker compose up --build` (compose.yaml).
#
# The tag below moves with Python's and Debian's repairs. To build the same bytes again, name its digest, which
# `docker buildx imagetools inspect python:3.13-slim-trixie` prints:
#   docker build --build-arg BASE=python:3.13-slim-trixie@sha256:... -t tapcode .
ARG BASE=python:3.13-slim-trixie

# --- what has to be installed; nothing of pip gets into the image -----------------------------------------------------
FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/venv
WORKDIR /app
COPY requirements/run.txt requirements/reference.txt requirements/
# Wheels alone, each with the hash that the lock has; the second line is Swagger UI's files, for /docs.
RUN pip --python /opt/venv/bin/python install --no-compile --require-hashes --only-binary :all: -r requirements/run.txt && \
    pip --python /opt/venv/bin/python install --no-compile --require-hashes --only-binary :all: --no-deps -r requirements/reference.txt
# .dockerignore names what belongs to the program.
COPY . .
# A checkout may be for one user's eyes. The root is read-only later: bytecode that is not checked against its source's time
# starts the same wherever it was copied.
RUN chmod -R u=rwX,go=rX /app && \
    /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib /app

# --- what runs --------------------------------------------------------------------------------------------------------
FROM ${BASE}
ARG REVISION=
LABEL org.opencontainers.image.title="tapcode" \
      org.opencontainers.image.description="One-time passwords through Telegram and MAX" \
      org.opencontainers.image.version="0.3.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
# The number is what is looked at where a container must not run as root. Nobody but it reads /data, and /app/data leads there,
# so the default DATABASE_URL is right here too.
RUN groupadd --gid 10001 tapcode && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin tapcode && \
    install -d -o 10001 -g 10001 -m 0700 /data && \
    install -d /app && \
    ln -s /data /app/data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8080
WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8080
# Without a proxy of the environment's, and without a program that is not there anyway.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import http.client, os, sys; it = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8080), timeout=4); it.request('GET', '/healthz'); sys.exit(it.getresponse().status != 200)"]
# Calls under way end. Whoever stops it should wait for 90 seconds (docker stop --time 90); it mostly takes one.
STOPSIGNAL SIGTERM
# `docker run IMAGE` serves; `docker run IMAGE project create ...` and all other commands of main.py work as well.
ENTRYPOINT ["python", "/app/main.py"]
CMD ["serve"]
