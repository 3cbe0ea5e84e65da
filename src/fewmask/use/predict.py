"""Predicts files: reads ahead, predicts, writes behind, skips what is done, and goes on where an image fails."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewmask.data.pixels import unreadable
from fewmask.errors import UserError
from fewmask.use.found import Found, find_images
from fewmask.use.network import Maps, Network
from fewmask.use.ranks import Share
from fewmask.use.raster import Source, opened_source
from fewmask.use.raster.source import WholeSource
from fewmask.use.results import IMAGES, CannotWriteError, Results
from fewmask.use.streaming import Plan, Way, predict_in_tiles, predict_together

_NAMED = 5
"""Number of files that are named in an error."""
_AHEAD = 4
"""Pictures that are read ahead, and pictures whose results are still written."""


class Summary(NamedTuple):
    """How many images this process had to predict, and how many of them were done before."""

    images: int
    done_before: int


def predict_files(
    network: Network,
    given: str,
    results: Results,
    record: Mapping[str, Any],
    way: Way | None = None,
    force: bool = False,
    share: Share | None = None,
    tick: Callable[[int], None] = lambda total: None,
) -> Summary:
    """Predicts every image that is not done yet.

    Args:
        network: what predicts.
        given: a file, a folder, a pattern, or a list (see `find_images`).
        results: where the results go.
        record: what identifies the network; results of another network, with other settings or of images in another
            folder are not mixed in.
        way: tiles, views and maps.
        force: whether results that are there are made anew.
        share: which of several processes this one is; each takes an equal part of the images.
        tick: called for every image with the number of all.

    Raises:
        UserError: there is nothing to predict, the results cannot be written, or others are there. Also if some images
            fail; in this case all others are done first.
    """
    way, share = way or Way(), share or Share()
    way = way._replace(entropy="entropy" in results.kinds)
    found = find_images(given, results.folders)
    settings = {"tile": way.tile, "overlap": way.overlap, "views": [list(view) for view in way.views]}
    record = {**record, **settings, IMAGES: str(found[0].root)}
    results.begin(record, [image.stem for image in found], force)
    own = found[share.rank :: share.processes]
    left = [image for image in own if force or not results.holds(image.stem)]
    for _ in range(len(own) - len(left)):
        tick(len(own))
    mistakes: list[UserError] = []
    with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(2) as writers:
        behind: deque[Future[None]] = deque()
        work = _work(network, _read_ahead(left, readers), way, results, writers)
        for outcome in work:
            tick(len(own))
            if isinstance(outcome, UserError):
                _note(outcome, mistakes)
                continue
            behind.append(outcome)
            while len(behind) > _AHEAD:
                _collect(behind.popleft(), mistakes)
        for future in behind:
            _collect(future, mistakes)
    if mistakes:
        raise _joined(mistakes, len(own))
    return Summary(len(own), len(own) - len(left))


_Read = WholeSource | UserError | None
"""A picture, why there is none, or None for a large one, which is read while it is predicted."""


def _read_ahead(images: Iterable[Found], pool: ThreadPoolExecutor) -> Iterator[tuple[Found, _Read]]:
    coming: deque[tuple[Found, Future[_Read]]] = deque()
    for image in images:
        coming.append((image, pool.submit(_read, image.file)))
        if len(coming) > _AHEAD:
            first, future = coming.popleft()
            yield first, future.result()
    for first, future in coming:
        yield first, future.result()


def _read(path: Path) -> _Read:
    try:
        with opened_source(path) as source:
            return source if isinstance(source, WholeSource) else None
    except UserError as mistake:
        return mistake
    except (OSError, ValueError, MemoryError) as error:
        return unreadable(path, error)


def _work(
    network: Network,
    pictures: Iterator[tuple[Found, _Read]],
    way: Way,
    results: Results,
    pool: ThreadPoolExecutor,
) -> Iterator[UserError | Future[None]]:
    """For each picture the writing of its results, or what is wrong; neighbors of one size are predicted together."""
    group: list[tuple[Found, WholeSource]] = []
    plan: Plan | None = None
    for image, read in pictures:
        size = (read.height, read.width) if isinstance(read, WholeSource) else None
        if group and plan is not None and (size != plan.size or len(group) >= plan.together):
            yield from _together(network, group, plan, results, pool)
            group = []
        if isinstance(read, UserError):
            yield read
        elif read is None:
            yield from _caught(lambda image=image: _in_tiles(network, image, None, way, results), pool)
        else:
            if plan is None or size != plan.size:
                plan = Plan(network, (read.height, read.width), way)
            if plan.is_whole:
                group.append((image, read))
            else:
                yield from _caught(lambda image=image, read=read: _in_tiles(network, image, read, way, results), pool)
    if group and plan is not None:
        yield from _together(network, group, plan, results, pool)


def _together(
    network: Network, group: Sequence[tuple[Found, WholeSource]], plan: Plan, results: Results, pool: ThreadPoolExecutor
) -> Iterator[Future[None]]:
    predicted = predict_together(network, [source.pixels for _, source in group], plan)
    for (image, source), bands in zip(group, predicted, strict=True):
        yield pool.submit(_write, results, image.stem, source, list(bands))


def _write(results: Results, stem: Path, source: WholeSource, bands: Iterable[Maps]) -> None:
    with results.writer(stem, (source.height, source.width), source.place) as writer:
        top = 0
        for maps in bands:
            bottom = top + len(maps.labels)
            writer.write(maps, source.rows(top, bottom))
            top = bottom


def _caught(work: Callable[[], None], pool: ThreadPoolExecutor) -> Iterator[UserError | Future[None]]:
    """Does the work here, in the thread of the network; a mistake of the image is yielded."""
    try:
        work()
    except UserError as mistake:
        yield mistake
    else:
        yield pool.submit(lambda: None)


def _in_tiles(network: Network, image: Found, source: WholeSource | None, way: Way, results: Results) -> None:
    """Predicts a picture in tiles; a picture that is not in memory is read a second time for its overlay."""
    with ExitStack() as stack:
        shown = source or stack.enter_context(opened_source(image.file))
        size = (shown.height, shown.width)
        writer = stack.enter_context(results.writer(image.stem, size, shown.place))
        again: Source | None = source
        if again is None and writer.needs_pixels:
            again = stack.enter_context(opened_source(image.file))
        top = 0
        for maps in predict_in_tiles(network, shown, Plan(network, size, way)):
            bottom = top + len(maps.labels)
            pixels: NDArray[np.uint8] | None = None if again is None else again.rows(top, bottom)
            writer.write(maps, pixels)
            top = bottom


def _collect(future: Future[None], mistakes: list[UserError]) -> None:
    try:
        future.result()
    except UserError as mistake:
        _note(mistake, mistakes)


def _note(mistake: UserError, mistakes: list[UserError]) -> None:
    """Keeps the mistake of an image; one that no other image will escape is raised."""
    if isinstance(mistake, CannotWriteError) and mistake.is_general:
        raise mistake
    mistakes.append(mistake)


def _joined(mistakes: Sequence[UserError], images: int) -> UserError:
    first, others = mistakes[0], images - len(mistakes)
    more = f"; {len(mistakes)} of {images} images failed" if images > 1 else ""
    if len(mistakes) > 1:
        names = ", ".join(Path(mistake.where).name for mistake in mistakes[1:_NAMED])
        more += f" ({names}{', ...' if len(mistakes) > _NAMED else ''} too)"
    if others:
        more += f", the other {others} are done"
    return UserError(first.what + more, first.where, first.fix)
