"""The hub client's errors as one sentence each: why a download failed, and what to do. The token never appears."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


@contextmanager
def explained(model: str, revision: str) -> Iterator[None]:
    """A context that turns any error of the hub client about a repository into an OSError of one sentence."""
    try:
        yield
    except LocalEntryNotFoundError as error:  # the client wraps network errors in this one
        raise OSError(reason(error.__cause__ or error, model, revision)) from error
    except Exception as error:  # the errors of httpx2 and hf_xet have no other common class
        raise OSError(reason(error, model, revision)) from error


def is_gone(error: OSError) -> bool:
    """Whether an error of `explained` means that the repository, its revision or what was in it does not exist (any more)."""
    cause = error.__cause__
    gone = RepositoryNotFoundError | RevisionNotFoundError | RemoteEntryNotFoundError | DisabledRepoError
    return isinstance(cause, gone) and not isinstance(cause, GatedRepoError)


def reason(error: BaseException, model: str, revision: str) -> str:
    """One sentence about an exception of the hub client."""
    hub = urlsplit(constants.ENDPOINT)
    host = hub.netloc.rpartition("@")[2]  # without the user's name and password, if the address has them
    address = hub._replace(netloc=host).geturl()
    page = f"{address}/{model}"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    match error:
        case GatedRepoError() if get_token() is None:
            return (
                f"{model} is gated and there is no token: accept its licence at {page}, create a token at "
                f"{address}/settings/tokens, and log in once with `hf auth login` (or set HF_TOKEN)"
            )
        case GatedRepoError():
            return (
                f"{model} is gated and your token has no access to it: accept its licence at {page} with the token's account "
                "(a fine-grained token must also be allowed to read public gated repositories)"
            )
        case RepositoryNotFoundError():
            hint = (
                "or log in with `hf auth login` if it is private"
                if get_token() is None
                else "or whether your token has access to it"
            )
            return f"there is no repository {model} at {host}: check its name in config.yaml, {hint}"
        case RemoteEntryNotFoundError() | DisabledRepoError():
            return f"{page} has been emptied or closed: choose another model in config.yaml"
        case RevisionNotFoundError():
            return f"{model} has no revision {revision}: choose a commit or branch from {page}/commits/main"
        case HfHubHTTPError() if status == 401:
            return (
                f"{host} does not accept your token: create a new one and log in with `hf auth login` (or set HF_TOKEN)"
            )
        case HfHubHTTPError() if status == 403:
            return f"{host} does not let your token read {model}: check the token's permissions at {address}/settings/tokens"
        case HfHubHTTPError() if status == 429:
            return f"{host} has received too many requests from here: wait a few minutes and start again"
        case HfHubHTTPError():
            return (
                f"{host} answered with HTTP {status} when asked for {model}: the fault is on its side, try again later"
            )
        case OfflineModeIsEnabled():
            return (
                f"{model} at revision {revision} is not complete in the hub cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE "
                "forbids fetching it: unset that if there is a network, or set HF_HOME to the folder of another cache"
            )
        case httpx2.TimeoutException():
            return (
                f"{host} did not answer in time when asked for {model}: try again later, or with a larger HF_HUB_ETAG_TIMEOUT "
                f"and HF_HUB_DOWNLOAD_TIMEOUT (now {constants.HF_HUB_ETAG_TIMEOUT} and {constants.HF_HUB_DOWNLOAD_TIMEOUT} s)"
            )
        case httpx2.ProxyError():
            return f"the proxy blocks access to {host}: check HTTPS_PROXY, or ask whoever runs the proxy"
        case httpx2.TransportError():
            return (
                f"{host} cannot be reached to fetch {model} ({one_line(error)}): check the network, or fetch on a machine that "
                "has a network and shares this one's HF_HOME"
            )
    return f"{model} could not be fetched: {one_line(error)}"


def one_line(error: BaseException) -> str:
    """The text of an exception on one line, without the query strings of addresses, which hold signatures."""
    text = re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", " ".join(str(error).split()))
    return text or type(error).__name__
