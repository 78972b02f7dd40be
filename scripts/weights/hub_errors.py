"""What the hub's client raises, as one sentence each: why it cannot be had, and what to do. Never with the token."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


@contextmanager
def explained(model: str, revision: str) -> Iterator[None]:
    """Raise OSError with one sentence for whatever the hub's client raises about a repository."""
    try:
        yield
    except LocalEntryNotFoundError as error:  # the client wraps what kept it from the network in one of these
        raise OSError(reason(error.__cause__ or error, model, revision)) from error
    except Exception as error:  # httpx2's own errors, and hf_xet's, share no other class
        raise OSError(reason(error, model, revision)) from error


def reason(error: BaseException, model: str, revision: str) -> str:
    """One sentence about an exception of the hub's client."""
    page, host = f"{constants.ENDPOINT}/{model}", urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    match error:
        case GatedRepoError() if get_token() is None:
            return (
                f"{model} is gated and there is no token: accept its licence at {page}, make a token at "
                f"{constants.ENDPOINT}/settings/tokens, and log in once with `hf auth login` (or set HF_TOKEN)"
            )
        case GatedRepoError():
            return (
                f"{model} is gated and your token may not read it: accept its licence at {page} with the account of the token "
                "(a fine-grained token must also be allowed to read public gated repositories)"
            )
        case RepositoryNotFoundError():
            hint = (
                "log in with `hf auth login` if it is private"
                if get_token() is None
                else "or your token may not see it"
            )
            return f"there is no repository {model} at {host}: look at its name in config.yaml, {hint}"
        case RevisionNotFoundError():
            return f"{model} has no revision {revision}: take a commit or branch of {page}/commits/main"
        case HfHubHTTPError() if status == 401:
            return (
                f"{host} does not accept your token: make a new one and log in with `hf auth login` (or set HF_TOKEN)"
            )
        case HfHubHTTPError() if status == 403:
            return f"{host} forbids your token to read {model}: look at the token's permissions at {constants.ENDPOINT}/settings/tokens"
        case HfHubHTTPError() if status == 429:
            return f"{host} has had too many requests from here: wait some minutes and start again"
        case HfHubHTTPError():
            return f"{host} answered with HTTP {status} when asked for {model}: that is its own fault, try again later"
        case OfflineModeIsEnabled():
            return (
                f"{model} at revision {revision} is not whole in the hub cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE "
                "forbids to fetch it: unset it where there is a network, or let HF_HOME name the folder of another cache"
            )
        case httpx2.TimeoutException():
            return (
                f"{host} did not answer in time when asked for {model}: try again later, or with a larger HF_HUB_ETAG_TIMEOUT "
                f"and HF_HUB_DOWNLOAD_TIMEOUT (now {constants.HF_HUB_ETAG_TIMEOUT} and {constants.HF_HUB_DOWNLOAD_TIMEOUT} s)"
            )
        case httpx2.ProxyError():
            return f"the proxy does not let us reach {host}: look at HTTPS_PROXY, or ask who runs it"
        case httpx2.TransportError():
            return (
                f"{host} cannot be reached to fetch {model} ({one_line(error)}): look at the network, or fetch where there is "
                "one, on a machine that shares this one's HF_HOME"
            )
    return f"{model} could not be fetched: {one_line(error)}"


def one_line(error: BaseException) -> str:
    """What an exception says, on one line and without what an address says after its question mark: signatures."""
    text = re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", " ".join(str(error).split()))
    return text or type(error).__name__
