# The book and its tools on a bare Debian: docker build -t noise-injection-companion .
#   docker run --rm -p 8000:8000 noise-injection-companion           serves the pages
#   docker run --rm noise-injection-companion make test              runs every test
FROM debian:13-slim
ENV LC_ALL=C.UTF-8
# As in .ci/run; chromium and node are for the tests.
RUN apt-get -qq update \
 && apt-get -qq install --yes --no-install-recommends \
    ca-certificates chromium git make nodejs python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /companion
COPY . .
RUN make book
EXPOSE 8000
CMD ["python3", "-m", "http.server", "--directory", "_build/html", "8000"]
