# syntax=docker/dockerfile:1

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# The lock files come first: a change of the code then reuses the layers with the dependencies.
COPY requirements/ requirements/
RUN python -m venv /opt/hexward \
    && /opt/hexward/bin/pip install --require-hashes --requirement requirements/runtime.txt \
    && pip install --require-hashes --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /build/dist . \
    && /opt/hexward/bin/pip install --no-deps --no-index /build/dist/hexward-*.whl \
    && /opt/hexward/bin/pip uninstall --yes pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Hexward" \
      org.opencontainers.image.description="An identity and access service on PostgreSQL" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/hexward --shell /usr/sbin/nologin hexward \
    && install --directory --owner hexward --group hexward --mode 0700 /var/lib/hexward
COPY --from=build /opt/hexward /opt/hexward
ENV PATH=/opt/hexward/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HEXWARD_HOST=0.0.0.0 \
    HEXWARD_PORT=8000 \
    HEXWARD_DATA_DIR=/var/lib/hexward
USER 10001:10001
WORKDIR /var/lib/hexward
VOLUME /var/lib/hexward
EXPOSE 8000
# Python, because the image has no curl. Liveness only: a database that is away is no reason to restart.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"HEXWARD_PORT\"]}/health/live', timeout=2)"]
ENTRYPOINT ["hexward"]
CMD ["serve"]
