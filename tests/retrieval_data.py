"""Small folders in the formats of EgoObjects and Cityscapes, with surplus files too."""

import json

import numpy as np
from PIL import Image

EVAL = "EgoObjectsV1_unified_eval.json"


def frame(number, group="G1", video="01", size=(1920, 1080), subset="test"):
    """An image of the annotation file, with the fields that are not read as well."""
    return {
        "id": number,
        "url": f"{group}_{video}_{number}.jpg",
        "width": size[0],
        "height": size[1],
        "group_id": group,
        "video_id": video,
        "frame_id": number,
        "subset": subset,
        "main_category": "mug",
        "timestamp": [0.5],
        "neg_category_ids": [4],
    }


def annotation(number, image, category, instance="a"):
    values = {
        "id": number,
        "image_id": image,
        "bbox": [1.0, 2.0, 30.0, 40.0],
        "area": 1200.0,
        "instance_id": instance,
        "category_freeform": "a mug",
    }
    return values if category is None else {**values, "category_id": category}


def write_ego(folder, images, annotations, pixels=None):
    """Writes the annotations, and an image for each entry: gray where not given."""
    (folder / "images").mkdir(parents=True)
    document = {"info": {}, "images": images, "annotations": annotations}
    (folder / EVAL).write_text(json.dumps(document))
    for number, image in enumerate(images):
        gray = np.full((9, 16, 3), 128, np.uint8)
        picture = Image.fromarray(gray if pixels is None else pixels[number])
        picture.save(folder / "images" / image["url"])
    return folder


# Files of a split: city, sequence, frame, and the ids that the annotation holds.
STREETS = {
    "train": [("aachen", 0, 19, (7, 11, 26)), ("aachen", 1, 19, (7, 0))],
    "val": [("lindau", 0, 19, (7, 33)), ("frankfurt", 1, 294, (23, 24, 4))],
}


def write_streets(folder, streets=STREETS):
    """Writes images, their label ids, and what else lies beside these."""
    for split, images in streets.items():
        for city, sequence, number, ids in images:
            name = f"{city}_{sequence:06}_{number:06}"
            for kind in ("leftImg8bit", "gtFine"):
                (folder / kind / split / city).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 4)).save(
                folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
            )
            labels = np.resize(np.array(ids, np.uint8), (4, 8))
            place = folder / "gtFine" / split / city
            Image.fromarray(labels).save(place / f"{name}_gtFine_labelIds.png")
            # What the archive holds beside them.
            Image.fromarray(labels).save(place / f"{name}_gtFine_instanceIds.png")
            (place / f"{name}_gtFine_polygons.json").write_text("{}")
    return folder
