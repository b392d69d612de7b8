# `scarnet app` in a container, drawing without a graphics card. From this folder:
#
#   docker build -t scarnet . && docker run --rm -p 127.0.0.1:8765:8765 -e SCARNET_APP_PASSWORD="at least 8 letters" scarnet
#
# Research use only. Images live in the container's /tmp while a session lasts, and nowhere else.
FROM debian:bookworm-slim

# Mesa draws in software: no graphics card, no display.
RUN apt-get update && apt-get install --yes --no-install-recommends \
      ca-certificates python3-venv libegl1 libgl1 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml README.md LICENSE /src/
COPY ScarNetSegment /src/ScarNetSegment
COPY Resources /src/Resources
RUN python3 -m venv /opt/scarnet && /opt/scarnet/bin/pip install --no-cache-dir "/src[app]" && rm -rf /src

RUN useradd --create-home scarnet
USER scarnet
EXPOSE 8765
HEALTHCHECK CMD ["/opt/scarnet/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/scarnet/status', timeout=5)"]
ENTRYPOINT ["/opt/scarnet/bin/scarnet", "app", "--no-browser", "--host", "0.0.0.0", "--port", "8765"]
