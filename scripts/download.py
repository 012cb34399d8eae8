"""One file over HTTP: resumed after a cut, checked, and in its place only when whole.

The bytes go to `NAME.part`; `NAME.part.json` says of which version of the file
they are (its ETag or date). A later run asks for the rest with Range and
If-Range, so that a file that changed on the server is fetched from the start.
"""

import http.client
import json
import os
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from files import DataError, megabytes, sha256_of

RETRIES = 3
BLOCK = 1 << 16


class Transient(Exception):
    """A failure that may pass: tried again."""


class Progress:
    """A bar on a terminal, a line at every tenth elsewhere."""

    def __init__(self, name, total, stream=None):
        self.name, self.total = name, total
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.started, self.shown = time.monotonic(), None
        self.first = None

    def update(self, done):
        now = time.monotonic()
        if self.first is None:
            self.first = done
        mark = now - now % 0.2 if self.terminal else self._tenth(done)
        if mark == self.shown and done != self.total:
            return
        self.shown = mark
        speed = (done - self.first) / max(now - self.started, 1e-3)
        if self.total:
            share = done / self.total
            text = f"{share:4.0%} of {megabytes(self.total)}, {megabytes(speed)}/s"
            if self.terminal:
                full = round(share * 30)
                text = f"[{'=' * full}{' ' * (30 - full)}] {text}"
        else:
            text = f"{megabytes(done)}, {megabytes(speed)}/s"
        start, end = ("\r\x1b[K", "") if self.terminal else ("", "\n")
        print(f"{start}  {self.name} {text}", end=end, file=self.stream, flush=True)

    def _tenth(self, done):
        return done * 10 // self.total if self.total else done // 50_000_000

    def close(self):
        if self.terminal and self.shown is not None:
            print(file=self.stream, flush=True)


def download(url, path, sha256, *, timeout=30.0, backoff=1.0, stream=None):
    """Fetches `url` to `path`, whose content must have the digest `sha256`."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url}: only http and https addresses can be fetched")
    by_hand = f"By hand: download {url} elsewhere, put it at {path} and run this again."
    part = path.with_name(path.name + ".part")
    for attempt in range(RETRIES + 1):
        try:
            _fetch(url, part, timeout, stream)
            break
        except Transient as error:
            if attempt == RETRIES:
                raise DataError(
                    f"{url}: {error} ({RETRIES + 1} attempts). "
                    f"Run this again to go on from where it stopped. {by_hand}"
                ) from None
            wait = backoff * 2**attempt
            print(f"  {error}; again in {wait:.0f} s", file=stream or sys.stderr, flush=True)
            time.sleep(wait)
        except DataError as error:
            raise DataError(f"{error} {by_hand}") from None
    found = sha256_of(part)
    _state_of(part).unlink(missing_ok=True)
    if found != sha256:
        part.unlink()
        raise DataError(
            f"{url}: the SHA-256 of what came is {found}, expected {sha256}; it was removed. "
            f"Something on the way answers in place of the server, or the file was replaced there. {by_hand}"
        )
    os.replace(part, path)


def _fetch(url, part, timeout, stream):
    """Brings `part` to its full length, or raises."""
    state = _read_state(part)
    have = part.stat().st_size if state and part.exists() and state["url"] == url else 0
    if have and have == state["total"]:
        return
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "cellway"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", state["validator"])
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            start, total = _extent(response, have)
            _check_space(part, total, start)
            if start == 0:
                _write_state(part, url, response, total)
            elif total != state["total"]:
                # Another file under the same validator: nothing to build on.
                part.unlink()
                raise Transient("the file on the server changed its length")
            _copy(response, part, start, total, timeout, stream)
    except urllib.error.HTTPError as error:
        _refuse(url, part, error)
    except ssl.SSLCertVerificationError as error:
        raise DataError(f"{url}: the server's certificate is not accepted ({error.verify_message}).") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DataError(
                f"{url}: the server's certificate is not accepted ({error.reason.verify_message})."
            ) from None
        if isinstance(error.reason, TimeoutError):
            raise Transient(f"no answer for {timeout:g} s") from None
        raise Transient(f"no connection ({error.reason})") from None
    except TimeoutError:
        raise Transient(f"no byte for {timeout:g} s") from None
    except (http.client.HTTPException, ConnectionError) as error:
        raise Transient(f"the connection broke ({type(error).__name__})") from None


def _extent(response, asked):
    """First byte and total length (None where unknown) of what the server sends."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != asked:
            raise DataError(f"the server answered a request for byte {asked} on with another range.")
        return asked, int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _copy(response, part, start, total, timeout, stream):
    progress = Progress(part.name.removesuffix(".part"), total, stream)
    done = start
    # Opened without truncation, then cut: "ab" would go on where the file ends.
    with open(part, "r+b" if part.exists() else "wb") as file:
        file.seek(start)
        file.truncate()
        try:
            progress.update(done)
            while block := response.read1(BLOCK):
                try:
                    file.write(block)
                except OSError as error:
                    raise DataError(f"{part}: {error.strerror}: make room and run this again.") from None
                done += len(block)
                progress.update(done)
        finally:
            progress.close()
        file.flush()
        os.fsync(file.fileno())
    if total is not None and done != total:
        raise Transient(f"cut after {done} of {total} bytes")


def _refuse(url, part, error):
    if error.code == 416:
        part.unlink(missing_ok=True)
        raise Transient("the server has less than what is here") from None
    if error.code in (408, 429) or error.code >= 500:
        raise Transient(f"the server answered {error.code} {error.reason}") from None
    raise DataError(f"{url}: the server answered {error.code} {error.reason}.") from None


def _check_space(part, total, start):
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise DataError(f"{part.parent}: {megabytes(free)} free, {megabytes(total - start)} needed: make room.")


def _state_of(part):
    return part.with_name(part.name + ".json")


def _read_state(part):
    try:
        state = json.loads(_state_of(part).read_text())
        return state if {"url", "validator", "total"} <= state.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _write_state(part, url, response, total):
    """Written before the first byte; without it the next run starts from nothing."""
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    # Weak validators are not allowed in If-Range.
    if validator and not validator.startswith("W/"):
        _state_of(part).write_text(json.dumps({"url": url, "validator": validator, "total": total}))
    else:
        _state_of(part).unlink(missing_ok=True)
