"""Files of the Hugging Face hub: this machine's cache first, then the network.

What lies in the cache is taken as it is, without asking whether the hub has newer: so a model does
not change while a job runs, and a machine without a network does not wait for one.
"""

from pathlib import Path

from pipeline.clip.refusal import refusal


def fetched(repo: str, name: str, field: str, model: str) -> Path:
    """A file of a repository, or its safetensors form where there is one.

    Raises HeadraceError, after the client's own retries (half a minute), if it cannot be had.
    """
    from huggingface_hub import try_to_load_from_cache
    from open_clip.pretrained import _get_safe_alternatives, download_pretrained_from_hf

    try:
        for one in (*_get_safe_alternatives(name), name):  # the order of open_clip
            cached = try_to_load_from_cache(repo, one)
            if isinstance(cached, str):
                return Path(cached)
        return Path(download_pretrained_from_hf(repo, filename=name))
    except Exception as error:  # the hub's client raises anything: no network, no such name
        raise refusal(
            field,
            model,
            f"neither the hub nor this machine's cache of it gives {repo}/{name}; copy the files "
            f"to this machine, and name a local-dir:FOLDER or, as `pretrained`, a file ({error})",
        ) from error
