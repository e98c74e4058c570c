"""``semrsm retrieve``: what is retrieved by similarity, and how well it fits."""

from pathlib import Path
from typing import Annotated, Any

import typer

from semrsm_jax.cli import _retrieval as retrieval
from semrsm_jax.cli import _retrieval_report as report
from semrsm_jax.cli import _similarity as similarity
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import StatisticsKernel
from semrsm_jax.cli._retrieval import ExcludeName
from semrsm_jax.cli._retrieval_report import ScoreName
from semrsm_jax.cli.console import progress_bar, say, say_json

NAME = "retrieve"
HELP = """Retrieve the most similar images, and score what was retrieved (section 4.2).

Rows of an RSM are queries, columns the database. --queries and --database name files that say what the images show, .csv with a row an image:

  id,group,cup,fork\n  kitchen/1.png,video 3,2,0

A column a class with the number of instances; id and group (the video) may be left out. An .npz holds counts (N, classes) and, where there are any, ids, groups and classes. Rows go by their ids where RSM and file have them, otherwise by their order.

Example: semrsm retrieve semantic.npz spatial.npz --queries q.csv --database db.csv --resamples 2000 --plot scores.pdf

Example: semrsm retrieve semantic.npz --images photos --gallery gallery.png

Results of semrsm search, .npz, serve in place of RSMs.

F1 counts instances (Eq. 9-12), IoU which classes are there (App. D.4). Each is given @1 to @k: the mean over a query's first k neighbours, and the best of them; the means over queries are shown. A neighbour may not be of the query's group; without groups, and where queries are the database, not the query itself (--exclude).

--resamples gives intervals, queries resampled (by group where they have one), and tests each further RSM against the first, paired by query. --json and --output give all numbers; --gallery shows images of --images (and --query-images)."""  # noqa: E501 (lines are wrapped when shown)


def command(
    rsms: similarity.RSMs,
    kernel: StatisticsKernel,
    queries: Annotated[
        Path | None,
        typer.Option(show_default=False, help="What the queries show: .csv or .npz."),
    ] = None,
    database: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            help="What the database shows. Default: the queries are the database.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbours a query.")] = 10,
    score: Annotated[
        ScoreName,
        typer.Option(case_sensitive=False, help="Of instances, or of classes present."),
    ] = ScoreName.F1,
    exclude: Annotated[
        ExcludeName | None,
        typer.Option(
            case_sensitive=False,
            show_default=False,
            help="What is not retrieved. Default: the query's group where there are "
            "groups, else the query itself where it is in the database.",
        ),
    ] = None,
    resamples: Annotated[
        int | None,
        typer.Option(metavar="B", min=2, help="Resamples for intervals, say 2000."),
    ] = None,
    confidence: similarity.Confidence = 0.95,
    seed: similarity.Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            show_default=False,
            help="A .json for all numbers, the neighbours of each query among them.",
        ),
    ] = None,
    plot: Annotated[Path | None, similarity.figure_option("Scores against k")] = None,
    gallery: Annotated[
        Path | None, similarity.figure_option("Queries with their neighbours")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(show_default=False, help="The folder of the database's images."),
    ] = None,
    query_images: Annotated[
        Path | None,
        typer.Option(
            show_default=False, help="That of the queries. Default: the same."
        ),
    ] = None,
    gallery_queries: Annotated[
        int, typer.Option(min=1, help="Queries in the gallery, the first ones.")
    ] = 4,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.AsJSON = False,
) -> None:
    """Finds neighbours, scores them where labels are given, and draws."""
    from semrsm_jax import nearest
    from semrsm_jax.store import check_output

    _check_options(queries, database, resamples, plot, gallery, images)
    inputs = [*rsms, *(path for path in (queries, database) if path is not None)]
    for figure in (plot, gallery):
        similarity.check_figure(figure, overwrite, inputs)
    if output is not None:
        check_output(output, overwrite, suffixes=(".json",), inputs=inputs)
    found = retrieval.load_searches(rsms, k)
    if found:
        if exclude or kernel.name:
            raise ValueError("--exclude and --kernel do not fit results of a search")
        samples = retrieval.Samples(len(next(iter(found.values())).index), None)
        opened = {}
    else:
        opened = similarity.open_rsms(rsms, kernel)
        similarity.check_alike(opened, square=False)
        rsm = next(iter(opened.values()))
        rows, columns = rsm.shape
        samples = retrieval.Samples(rows, columns, rsm.x_ids, rsm.y_ids)
    sides = None
    if queries is not None:
        sides = retrieval.load_sides(queries, database, samples)
    one_set = samples.queries == samples.database and database is None
    excluded, rule = retrieval.exclusion(exclude, sides, samples, one_set)
    # Images that are missing are better known before the work.
    shown = _images(gallery, images, query_images, samples, sides)
    with progress_bar("queries", quiet or as_json) as bar:
        for name, each in opened.items():
            found[name] = nearest(
                each,
                k,
                rule,
                progress=lambda done, total, name=name: bar(name, done, total),
            )
    scores = {} if sides is None else report.score_all(found, sides, score)
    summary: dict[str, Any] = {
        "queries": samples.queries,
        "database": samples.database,
        "k": k,
        # What a search left out, it does not tell.
        "exclude": excluded.value if opened else None,
        "score": score.value if scores else None,
        "confidence": confidence if resamples else None,
        "rsms": list(found),
        "scores": report.summaries(scores, sides, resamples, confidence, seed),
    }
    if plot is not None:
        report.plot_scores(summary, plot, overwrite)
    if gallery is not None and shown is not None:
        report.draw_gallery(found, shown, gallery_queries, gallery, overwrite)
    if output is not None:
        report.write(output, summary, found, scores, samples, overwrite)
    if as_json:
        say_json(summary)
    elif not quiet:
        report.show(summary)
        for what, path in (("Scores", plot), ("Gallery", gallery), ("All", output)):
            if path is not None:
                say(f"{what}: {path}")


def _check_options(
    queries: Path | None,
    database: Path | None,
    resamples: int | None,
    plot: Path | None,
    gallery: Path | None,
    images: Path | None,
) -> None:
    if queries is None:
        for flag, value in (
            ("--database", database),
            ("--resamples", resamples),
            ("--plot", plot),
        ):
            if value is not None:
                raise ValueError(f"{flag} needs --queries, what the images show")
    if (gallery is None) != (images is None):
        raise ValueError("--gallery and --images need each other")


def _images(
    gallery: Path | None,
    folder: Path | None,
    query_folder: Path | None,
    samples: retrieval.Samples,
    sides: "retrieval.Sides | None",
) -> "tuple[retrieval.Images, retrieval.Images] | None":
    """The images of queries and of the database, found but not read."""
    if gallery is None or folder is None:
        return None
    ids = [samples.query_ids, samples.database_ids]
    if sides is not None:
        labelled = (sides.queries.ids, sides.database.ids)
        ids = [a if a is not None else b for a, b in zip(ids, labelled, strict=True)]
    return (
        retrieval.Images(query_folder or folder, ids[0], samples.queries),
        retrieval.Images(folder, ids[1], samples.database),
    )
