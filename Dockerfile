# The service alone: the runtime and the extra "serve", without training software.
#
#   docker build -t recprune .
#   docker run --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 -v state:/state \
#     -v "$PWD/runs/small:/model:ro" -v "$PWD/users.rp:/users.rp:ro" \
#     -e RECPRUNE_PEPPER_KEY -e RECPRUNE_AUDIT_KEY recprune

FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/recprune
RUN /opt/recprune/bin/python -m pip install --no-cache-dir ".[serve]"

FROM python:3.11-slim
COPY --from=build /opt/recprune /opt/recprune
# Folders that the service writes to: its state, and what was compiled. All else may be read-only.
RUN install -d -o 10001 -g 10001 -m 0700 /state /var/cache/recprune
ENV PATH=/opt/recprune/bin:$PATH NUMBA_CACHE_DIR=/var/cache/recprune PYTHONDONTWRITEBYTECODE=1
VOLUME ["/state", "/var/cache/recprune"]
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["recprune"]
CMD ["serve", "/model", "--users", "/users.rp", "--state", "/state", "--host", "0.0.0.0", "--port", "8000"]
