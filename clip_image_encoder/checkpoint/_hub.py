"""The Hugging Face hub and its cache, which transformers and huggingface_hub share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_image_encoder._messages import first_line
from clip_image_encoder.checkpoint._files import BUNDLED, has_safetensors, names_in
from clip_image_encoder.errors import CheckpointError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["HubSnapshot", "find_snapshot", "in_home", "is_repository_id"]

_logger = logging.getLogger(__name__)
_MAIN = "main"
_CONVERSION_BOT = "SFconvertbot"


@dataclass(frozen=True, kw_only=True)
class HubSnapshot:
    """One commit of a repository on the hub; files come from the cache or are downloaded into it."""

    repository: str
    commit: str
    listing: frozenset[str]
    token: str | bool | None = field(repr=False)
    cache_dir: str | None
    local_files_only: bool

    @property
    def name(self) -> str:
        """The repository's id."""
        return self.repository

    @property
    def never_change(self) -> bool:
        """The files of a commit stay as they are."""
        return True

    def path(self, filename: str) -> Path:
        """Return the path of `filename` in the cache, after downloading it if it isn't there."""
        return _download(self, filename, self.commit)

    def size(self, filename: str) -> int | None:
        """Return the number of bytes of `filename` in the cache, or None where it can still be downloaded.

        Raises:
            CheckpointError: it is not in the cache, and the network is never asked.
        """
        from huggingface_hub import try_to_load_from_cache

        with _reading_the_cache(self.name):
            kept = try_to_load_from_cache(self.repository, filename, self.cache_dir, self.commit)
            if isinstance(kept, str):
                return Path(kept).stat().st_size
        if self.local_files_only:
            raise CheckpointError(_not_cached(self, f"{filename} is missing there"))
        return None


def find_snapshot(
    repository: str,
    *,
    config_files: Sequence[str],
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | None,
    local_files_only: bool,
) -> HubSnapshot:
    """Find the commit that a repository's revision is now.

    The hub is asked once, with no retries. When it can't be reached, or the cache can't take what is new
    there, the cache is used as it is.

    Args:
        repository: Its id.
        config_files: Names of the files of which one describes the model.
        revision: Branch, tag or commit; None is the newest.
        token: Token of the hub, for private and gated repositories.
        cache_dir: Folder where downloaded files are kept instead of the hub's own cache.
        local_files_only: Whether the network is never asked.

    Raises:
        CheckpointError: there is no such repository or revision, it can't be reached, or the cache can't be used.
    """
    query = HubSnapshot(
        repository=repository,
        commit=revision or _MAIN,
        listing=frozenset(),
        token=token,
        cache_dir=cache_dir and str(in_home(cache_dir).absolute()),
        local_files_only=local_files_only or _is_offline(),
    )
    if not query.local_files_only:
        return _current(query, revision, config_files)
    cached = _cached(query, revision, config_files)
    if cached is None:
        raise CheckpointError(_not_cached(query, "local_files_only or HF_HUB_OFFLINE is set"))
    return cached


def is_repository_id(model: str) -> bool:
    """Tell whether a name may be one on the hub: "name" or "owner/name"."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(model)
    except HFValidationError:
        return False
    return not model.startswith(".") and not Path(model).is_absolute()


def in_home(folder: str) -> Path:
    """Return the path of a folder that may start with ~, as those of huggingface_hub's settings do.

    Raises:
        CheckpointError: this user has no home.
    """
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: this user has no home folder; set HF_HOME to a folder for caches") from error


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _current(query: HubSnapshot, revision: str | None, config_files: Sequence[str]) -> HubSnapshot:
    """Return the snapshot that the hub has now, or the cached one if the hub can't be reached."""
    from huggingface_hub import HfApi

    api = HfApi(token=query.token)
    try:
        reference, listing = query.commit, _remote_listing(api, query.repository, query.commit)
        if revision is None and not has_safetensors(listing):
            reference, listing = _converted(api, query.repository) or (reference, listing)
    except _request_errors() as error:
        cached = _cached(query, revision, config_files)
        if cached is None:
            refusal = _refusal(error, query.commit)
            why = f"the hub can't be reached ({first_line(error)})"
            raise CheckpointError(f"{query.name}: {refusal}" if refusal else _not_cached(query, why)) from error
        return cached
    # Asking by the reference's name, once, lets the cache remember which commit it is.
    described_by = next((name for name in config_files if name in listing), None)
    try:
        config = _download(query, described_by, reference) if described_by else None
    except CheckpointError as error:
        cached = _cached(query, revision, config_files) if _is_local(error.__cause__) else None
        if cached is None:
            raise
        _logger.warning("%s; the cached commit %s is used, which is not the newest", error, cached.commit)
        return cached
    commit = config.parent.name if config else reference
    return replace(query, commit=commit, listing=listing)


def _remote_listing(api: HfApi, repository: str, reference: str) -> frozenset[str]:
    info = api.model_info(repository, revision=reference, timeout=10)
    return frozenset(sibling.rfilename for sibling in info.siblings or ())


def _converted(api: HfApi, repository: str) -> tuple[str, frozenset[str]] | None:
    """Return the hub's own safetensors conversion of a repository that has none, as (reference, listing).

    A service of the hub opens a pull request with the converted weights; transformers reads it, too.
    """
    for discussion in api.get_repo_discussions(repository, author=_CONVERSION_BOT):
        if discussion.is_pull_request and discussion.status == "open" and discussion.git_reference:
            listing = _remote_listing(api, repository, discussion.git_reference)
            if has_safetensors(listing):
                return discussion.git_reference, listing
    return None


def _cached(query: HubSnapshot, revision: str | None, config_files: Sequence[str]) -> HubSnapshot | None:
    """Return the snapshot that lies in the cache, preferring one with safetensors, or None."""
    from huggingface_hub import try_to_load_from_cache

    found = None
    with _reading_the_cache(query.name):
        for reference in [query.commit, *(_cached_pull_requests(query) if revision is None else ())]:
            kept = (try_to_load_from_cache(query.repository, name, query.cache_dir, reference) for name in config_files)
            config = next((path for path in kept if isinstance(path, str)), None)
            if config is None:
                continue
            snapshot = Path(config).parent
            listing = names_in(snapshot)
            cached = replace(query, commit=snapshot.name, listing=listing, local_files_only=True)
            if has_safetensors(listing):
                return cached
            found = found or cached
    return found


@contextmanager
def _reading_the_cache(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{name}: {_unusable(error)}") from error


def _is_local(error: BaseException | None) -> bool:
    """Tell whether an error is that of a file on this machine, and not of the network."""
    return isinstance(error, OSError) and error.filename is not None


def _unusable(error: Exception) -> str:
    return f"the cache can't be used ({first_line(error)}); set HF_HOME to a folder that can be read and written"


def _cache_folder(snapshot: HubSnapshot) -> Path:
    from huggingface_hub import constants

    return in_home(snapshot.cache_dir or constants.HF_HUB_CACHE)


def _not_cached(query: HubSnapshot, why: str) -> str:
    return (
        f"{query.name} is not in the cache ({_cache_folder(query)}) and was not downloaded: {why}. "
        f"Connect once, copy the checkpoint here and pass its folder, or use model={BUNDLED!r}, which is bundled"
    )


def _cached_pull_requests(query: HubSnapshot) -> list[str]:
    from huggingface_hub.file_download import repo_folder_name

    references = _cache_folder(query) / repo_folder_name(repo_id=query.repository, repo_type="model") / "refs"
    return sorted(str(path.relative_to(references)) for path in references.glob("refs/pr/*"))


def _download(snapshot: HubSnapshot, filename: str, reference: str) -> Path:
    from huggingface_hub import hf_hub_download

    fetch: Callable[..., str] = hf_hub_download
    _cache_folder(snapshot)  # without a home, some versions make a folder named ~
    try:
        return Path(
            fetch(
                snapshot.repository,
                filename,
                revision=reference,
                token=snapshot.token,
                cache_dir=snapshot.cache_dir,
                local_files_only=snapshot.local_files_only,
            )
        )
    except _request_errors() as error:
        reason = _refusal(error, reference) or f"{filename} can't be had: {first_line(error)}"
        raise CheckpointError(f"{snapshot.name}: {reason}") from error


def _request_errors() -> tuple[type[Exception], ...]:
    """Return what the hub's client raises when a request fails; missing files and statuses are among it."""
    from huggingface_hub.errors import HfHubHTTPError

    # The client has been requests, httpx and httpx2; the root of its errors is a base of the hub's own.
    # A ValueError comes of a page that is no JSON, such as a hotel's.
    return (OSError, ValueError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)))


def _refusal(error: Exception, revision: str) -> str | None:
    """Say why the hub refuses a request, or the cache; return None if neither was reached."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if _is_local(error):
        return _unusable(error)
    if isinstance(error, GatedRepoError):
        return "access is gated; accept its terms on the hub, then log in with `hf auth login` or pass token="
    if isinstance(error, RevisionNotFoundError):
        return f"no revision {revision!r} on the hub"
    if isinstance(error, RepositoryNotFoundError):
        return "no such repository on the hub, nor such a folder here; if it is private, pass token="
    # Before version 1, a file missing from the cache was such an error too, without a response.
    if isinstance(error, HfHubHTTPError) and getattr(error.response, "status_code", None) in (401, 403):
        return "the hub refuses access; check token=, HF_TOKEN or `hf auth login`"
    return None
