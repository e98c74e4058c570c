"""``semrsm retrieve``: what is retrieved by similarity, and how well it fits."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from semrsm_jax import class_iou, instance_f1, nearest
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import StatisticsKernel
from semrsm_jax.cli._retrieval import (
    Exclude,
    Sides,
    exclusion,
    image_files,
    load_searches,
    means_as_dict,
    per_query,
    show,
    with_labels,
)
from semrsm_jax.cli._sample_groups import groups_of
from semrsm_jax.cli.console import progress_bar, say, say_json
from semrsm_jax.retrieval import Neighbors, RetrievalScores, evaluate_retrieval
from semrsm_jax.store import Similarity, check_output, new_file, open_similarities

HELP = """Retrieve the most similar images, and score what was retrieved (section 4.2).

Rows of an RSM are queries, columns the database. Results of semrsm search, .npz, may be given in place of RSMs.

Example: semrsm retrieve semantic.npz spatial.npz --queries q.csv --database db.csv --resamples 2000 --plot scores.pdf

Example: semrsm retrieve semantic.npz --images photos --gallery gallery.png

--queries and --database name files of what the images show, .csv with a row an image:

  id,group,cup,fork\n  kitchen/1.png,video 3,2,0

A column a class with the number of its instances; id and group (the video) may be left out. A column label, in place of counts, is the one class of each image. An .npz holds counts (N, classes) or labels (N) and, where there are any, ids, groups and classes. Rows are matched by their ids where RSM and file have them, otherwise by their order.

F1 counts instances (Eq. 9-12), IoU the classes that are present (App. D.4). Each is given @1 to @k: the mean over the first k neighbors of a query, and the best of them; the means over queries are shown. A neighbor may not be of the query's group; without groups, and where queries are the database, not the query itself (--exclude).

--resamples gives intervals, queries resampled (by group where they have one, or by --groups), and tests each further RSM against the first, paired by query. --json and --output give all numbers; --gallery shows images of --images (and --query-images)."""  # noqa: E501 (lines are wrapped when shown)


_SCORES = {"f1": ("F1", instance_f1), "iou": ("IoU", class_iou)}


def command(
    rsms: options.RSMs,
    kernel: StatisticsKernel,
    queries: Annotated[
        Path | None, typer.Option(help="What the queries show: .csv or .npz.")
    ] = None,
    database: Annotated[
        Path | None,
        typer.Option(
            help="What the database shows. Default: the queries are the database."
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbors of a query.")] = 10,
    score: Annotated[
        Literal["f1", "iou"],
        typer.Option(case_sensitive=False, help="Of instances, or of classes present."),
    ] = "f1",
    exclude: Annotated[
        Exclude | None,
        typer.Option(
            case_sensitive=False,
            help="What is not retrieved. Default: the query's group where there are "
            "groups, else the query itself where it is in the database.",
        ),
    ] = None,
    resamples: options.Bootstrap = None,
    groups: Annotated[
        str | None,
        options.statistics_option(
            metavar="COLUMN",
            help="Which queries depend on each other, as frames of one video: a column "
            "of --queries, a .csv; folder or prefix, of their ids; or none. They are "
            "resampled together. Default: the column group.",
        ),
    ] = None,
    confidence: options.Confidence = 0.95,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None,
        options.file_option(
            "--output",
            "-o",
            help="A .json for all numbers, the neighbors of each query among them.",
        ),
    ] = None,
    plot: Annotated[Path | None, options.figure_option("Scores against k")] = None,
    gallery: Annotated[
        Path | None, options.figure_option("Queries with their neighbors")
    ] = None,
    images: Annotated[
        Path | None, options.file_option(help="The folder of the database's images.")
    ] = None,
    query_images: Annotated[
        Path | None,
        options.file_option(
            help="The folder of the queries' images. Default: that of --images."
        ),
    ] = None,
    gallery_queries: Annotated[
        int, options.file_option(min=1, help="Queries in the gallery, the first ones.")
    ] = 4,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.AsJSON = False,
) -> None:
    """Finds neighbors, scores them where labels are given, and draws."""
    needing: dict[str, Any] = {"--database": database, "--resamples": resamples}
    needing |= {"--plot": plot, "--groups": groups}
    for flag, value in needing.items():
        if queries is None and value is not None:
            raise ValueError(f"{flag} needs --queries, what the images show")
    if (gallery is None) != (images is None):
        raise ValueError("--gallery and --images need each other")
    inputs = [*rsms, *(path for path in (queries, database) if path is not None)]
    for figure in (plot, gallery):
        options.check_figure(figure, overwrite, inputs)
    if output is not None:
        check_output(output, overwrite, suffixes=(".json",), inputs=inputs)
    neighbors, sides = load_searches(rsms, k)
    opened: Mapping[str, Similarity] = {}
    if neighbors and (exclude or kernel.name):
        raise ValueError("--exclude and --kernel do not fit results of a search")
    if not neighbors:
        opened = open_similarities(rsms, kernel.build(), square=False)
        first, *_ = opened.values()
        rows, columns = first.shape
        # All are in the order of the first one that has ids.
        named = (rsm for rsm in opened.values() if rsm.x_ids or rsm.y_ids)
        first = next(named, first)
        sides = Sides((rows, columns), (first.x_ids, first.y_ids))
    if queries is not None:
        sides = with_labels(sides, queries, database)
    excluded, rule = exclusion(exclude, sides, one_set=database is None)
    # Images that are missing are better reported before the work.
    files = images and image_files(sides, query_images or images, images)
    with progress_bar("queries", quiet or as_json) as bar:
        for name, each in opened.items():
            ranked = nearest(
                each,
                k,
                rule,
                progress=lambda done, total, name=name: bar(name, done, total),
            )
            # Without ids: the labels are in the order of the samples.
            neighbors[name] = Neighbors(*ranked)
    label, function = _SCORES[score]
    scores: dict[str, RetrievalScores] = {}
    if sides.labels is not None:
        own, others = sides.labels
        ids, count = sides.ids[0] or own.ids, len(own.counts)
        asked = bool(resamples) and not quiet
        members = groups_of(groups, queries, ids, count, own.groups, asked)
        scores = evaluate_retrieval(
            neighbors,
            own.counts,
            others.counts,
            function,
            groups=members,
            resamples=resamples,
            confidence=confidence,
            key=seed,
        )
    summary: dict[str, Any] = {
        "queries": sides.counts[0],
        "database": sides.counts[1],
        "k": k,
        # What a search left out is not in its result.
        "exclude": excluded if opened else None,
        "score": score if scores else None,
        "confidence": confidence if resamples else None,
        "rsms": list(neighbors),
        "scores": [means_as_dict(name, each) for name, each in scores.items()],
    }
    if plot is not None:
        from semrsm_jax.plotting import plot_retrieval_scores

        options.save_figure(plot_retrieval_scores(scores, label=label), plot, overwrite)
    if gallery is not None and files:
        from semrsm_jax.plotting import neighbor_gallery

        (own_files, names), (other_files, _) = files
        first = range(min(gallery_queries, sides.counts[0]))
        figure = neighbor_gallery(
            neighbors, own_files, other_files, queries=first, query_names=names
        )
        options.save_figure(figure, gallery, overwrite)
    if output is not None:
        everything = summary | per_query(neighbors, scores, sides)
        with new_file(output, overwrite) as temporary:
            temporary.write_text(json.dumps(everything, allow_nan=False))
    if as_json:
        say_json(summary)
    elif not quiet:
        show(summary, label)
        for what, path in (("Scores", plot), ("Gallery", gallery), ("All", output)):
            if path is not None:
                say(f"{what}: {path}")
