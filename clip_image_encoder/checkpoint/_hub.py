"""Access to checkpoints on the Hugging Face hub, through the cache that transformers and huggingface_hub share."""

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
    """One commit of a repository on the hub, whose files are downloaded into the cache when they are needed.

    Attributes:
        repository: Id of the repository, such as "openai/clip-vit-base-patch32".
        commit: Hash of the commit.
        listing: Names of the commit's files, or only of those in the cache if the hub was not asked.
        token: Token of the hub; True, False and None have huggingface_hub's meanings.
        cache_dir: Folder where downloaded files are kept; None is the hub's own cache.
        local_files_only: Whether only files in the cache are used, without the network.
    """

    repository: str
    commit: str
    listing: frozenset[str]
    token: str | bool | None = field(repr=False)
    cache_dir: str | None
    local_files_only: bool

    @property
    def name(self) -> str:
        """Id of the repository, for error messages."""
        return self.repository

    @property
    def never_change(self) -> bool:
        """True, since the files of a commit stay as they are."""
        return True

    def path(self, filename: str) -> Path:
        """Return the path of a file in the cache, into which it is downloaded if necessary."""
        return _download(self, filename, self.commit)

    def size(self, filename: str) -> int | None:
        """Return the size in bytes of a file in the cache, or None if it is not there but can be downloaded.

        Raises:
            CheckpointError: The file is not in the cache, and the network must not be used.
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
    """Return the commit that a revision of a repository is now.

    The hub is asked once, without retries. If it can't be reached, or new files can't be written to the cache, the
    commit in the cache is returned.

    Args:
        repository: Id of the repository.
        config_files: Names of the files that may describe the model, of which the repository has one.
        revision: Branch, tag or commit; None is the newest commit.
        token: Token for private and gated repositories; True, False and None have huggingface_hub's meanings.
        cache_dir: Folder where downloaded files are kept; None is the hub's own cache.
        local_files_only: Whether only files in the cache are used, without the network.

    Raises:
        CheckpointError: The repository or the revision doesn't exist or can't be reached, or the cache can't be used.
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
    """Tell whether a name may be the id of a repository on the hub: "name" or "owner/name"."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(model)
    except HFValidationError:
        return False
    return not model.startswith(".") and not Path(model).is_absolute()


def in_home(folder: str) -> Path:
    """Return the path of a folder in which ~ is replaced by the user's home, as huggingface_hub does in its settings.

    Raises:
        CheckpointError: The path starts with ~, and this user has no home.
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
    # Downloading one file by the reference's name makes the cache remember which commit the reference is.
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
    """Return the hub's conversion of a repository without safetensors, as (reference, listing), or None.

    A bot of the hub opens a pull request with the converted weights, which transformers reads, too.
    """
    for discussion in api.get_repo_discussions(repository, author=_CONVERSION_BOT):
        if discussion.is_pull_request and discussion.status == "open" and discussion.git_reference:
            listing = _remote_listing(api, repository, discussion.git_reference)
            if has_safetensors(listing):
                return discussion.git_reference, listing
    return None


def _cached(query: HubSnapshot, revision: str | None, config_files: Sequence[str]) -> HubSnapshot | None:
    """Return the snapshot in the cache, preferably one with safetensors, or None if there is none."""
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
    """Tell whether an error is about a file on this machine, and not about the network."""
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
    _cache_folder(snapshot)  # raises an error without a home, where some versions would make a folder named ~
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
        reason = _refusal(error, reference) or f"{filename} can't be downloaded: {first_line(error)}"
        raise CheckpointError(f"{snapshot.name}: {reason}") from error


def _request_errors() -> tuple[type[Exception], ...]:
    """Return the classes of errors that the hub's client raises when a request fails, for whatever reason."""
    from huggingface_hub.errors import HfHubHTTPError

    # Versions of huggingface_hub use requests, httpx or httpx2; the base of its errors is a base of HfHubHTTPError.
    # A ValueError is raised by a page that is not JSON, such as the login page of a public network.
    return (OSError, ValueError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)))


def _refusal(error: Exception, revision: str) -> str | None:
    """Return why the hub or the cache refuses a request, for a message, or None if the hub was not reached."""
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
    # Before huggingface_hub 1, a file that is missing from the cache raised this error too, without a response.
    if isinstance(error, HfHubHTTPError) and getattr(error.response, "status_code", None) in (401, 403):
        return "the hub refuses access; check token=, HF_TOKEN or `hf auth login`"
    return None
