"""The ISIC Archive as a source: what is found, in which order, and what a wrong answer leads to."""

from collections import Counter
from itertools import islice
from urllib.parse import parse_qs

import pytest

from isic_archive import serving
from isic_images import find, make_images
from tellapart.errors import ConfigError, FetchError
from tellapart.sources.isic import Archive
from tellapart.sources.isic_plan import Diagnosis, Plan
from tellapart.sources.session import Session

BENIGN = Diagnosis("diagnosis_1", "Benign")
DERMOSCOPIC = 'image_type:"dermoscopic" -image_manipulation:*'


@pytest.fixture(scope="module")
def stand_in():
    with serving(make_images(900)) as archive:
        yield archive


@pytest.fixture(scope="module")
def session():
    with Session(allow_private=True, first_pause_s=0.01) as session:
        yield session


@pytest.fixture
def archive(stand_in, session):
    stand_in.asked.clear()
    return Archive(session, stand_in.api)


def ids(candidates):
    return [candidate.id for candidate in candidates]


def test_every_image_of_a_class_is_offered_once(archive, stand_in):
    found = find(stand_in.images, f"diagnosis_1:Benign {DERMOSCOPIC}")
    offered = ids(archive.candidates(Plan(), BENIGN))
    assert len(found) > 300
    assert len(offered) == len(set(offered))
    assert set(offered) == {image.isic_id for image in found}


def test_a_candidate_carries_all_that_the_manifest_needs(archive, stand_in):
    by_id = {image.isic_id: image for image in stand_in.images}
    for candidate in islice(archive.candidates(Plan(), BENIGN), 200):
        image = by_id[candidate.id]
        assert candidate.url == f"{stand_in.url}/store/images/{image.isic_id}.{image.suffix}"
        assert candidate.label == "Benign"
        assert (candidate.licence, candidate.attribution) == (image.licence, image.attribution)
        assert candidate.licence_url.startswith("https://creativecommons.org/")
        assert candidate.group == image.clinical.get("patient_id", image.clinical.get("lesion_id"))
        assert candidate.size_px == (60, 45)
        assert candidate.metadata["age"] == str(image.clinical.get("age_approx", ""))
        assert candidate.metadata.get("sex", "") == image.clinical.get("sex", "")
        assert candidate.metadata["site"] == image.clinical["anatom_site_1"]
        assert candidate.metadata["melanocytic"] in ("true", "false")
        assert candidate.metadata["clin_size_long_diam_mm"] == image.clinical["clin_size_long_diam_mm"]


def test_the_seed_alone_decides_the_order_which_is_not_the_oldest_first(archive, stand_in):
    first, again = (ids(archive.candidates(Plan(seed=1), BENIGN)) for _ in range(2))
    other = ids(archive.candidates(Plan(seed=2), BENIGN))
    assert first == again
    assert first != other
    assert set(first) == set(other)
    place = {image.isic_id: number for number, image in enumerate(stand_in.images)}
    mean_place = sum(place[key] for key in first[:100]) / 100
    assert 350 < mean_place < 550  # of 900; the hundred oldest have a mean near 80


def test_an_image_more_in_the_archive_leaves_the_others_in_their_order(session):
    images = make_images(300)
    with serving(images[:250]) as before, serving(images) as after:
        less, more = (ids(Archive(session, at.api).candidates(Plan(), BENIGN)) for at in (before, after))
    assert set(less) < set(more)
    assert [key for key in more if key in set(less)] == less


def test_a_large_class_is_read_in_slices_and_only_as_far_as_needed(session):
    with serving(make_images(3000)) as large:
        archive = Archive(session, large.api)
        found = find(large.images, f"diagnosis_1:Benign {DERMOSCOPIC}")
        assert len(found) > 1000
        candidates = archive.candidates(Plan(), BENIGN)
        some = ids(islice(candidates, 50))
        assert len(large.asked) <= 4  # a count, and the pages of one slice of ten
        assert len({key[-1] for key in some}) == 1
        offered = [*some, *ids(candidates)]
        assert len(offered) == len(set(offered))
        assert set(offered) == {image.isic_id for image in found}


@pytest.mark.parametrize(
    ("plan", "query"),
    [
        (Plan(image_type=None), "-image_manipulation:*"),
        (Plan(image_type="TBP tile: close-up"), 'image_type:"TBP tile: close-up" -image_manipulation:*'),
        (Plan(licences=("CC-0", "CC-BY")), f"{DERMOSCOPIC} -copyright_license:CC-BY-NC"),
        (Plan(query="sex:male OR age_approx:[60 TO *]"), f"{DERMOSCOPIC} (sex:male OR age_approx:[60 TO *])"),
        (Plan(image_type=None, query="image_manipulation:altered"), "image_manipulation:altered"),
        (Plan(collections=(70,)), DERMOSCOPIC),
    ],
)
def test_conditions_hold_for_all_candidates_and_leave_none_out(archive, stand_in, plan, query):
    found = find(stand_in.images, f"diagnosis_1:Benign AND {query}", plan.collections)
    assert found
    assert set(ids(archive.candidates(plan, BENIGN))) == {image.isic_id for image in found}


def test_thumbnails_have_an_address_of_their_own_and_no_announced_size(archive):
    candidate = next(archive.candidates(Plan(thumbnails=True), BENIGN))
    assert candidate.url.endswith(f"/thumbnails/{candidate.id}_thumbnail.jpg")
    assert candidate.size_px is None


def test_an_offer_counts_without_loading(archive, stand_in):
    rare = Diagnosis("diagnosis_3", "Melanoma, NOS")
    offer = archive.offer(Plan(), rare)
    found = find(stand_in.images, f'diagnosis_3:"Melanoma, NOS" {DERMOSCOPIC}')
    assert 10 < len(found) < 100
    assert offer.n_images == len(found)
    assert offer.licences == Counter(image.licence for image in found)
    assert offer.bytes_per_image == pytest.approx(sum(len(i.ingested) for i in found) / len(found))
    thumbnails = archive.offer(Plan(thumbnails=True, licences=("CC-0",)), rare)
    assert thumbnails.bytes_per_image < offer.bytes_per_image / 1.2
    assert thumbnails.licences == {"CC-0": offer.licences["CC-0"]}
    assert not stand_in.files_asked()


def test_an_offer_is_three_questions(archive, stand_in):
    archive.offer(Plan(), BENIGN)
    assert [asked.path.removeprefix("/api/v2/images/") for asked in stand_in.asked] == [
        "search/",
        "search/size/",
        "facets/",
    ]


def test_an_offer_does_without_what_is_no_documented_part_of_the_api(archive, stand_in):
    whole = archive.offer(Plan(), BENIGN)
    for route in ("facets/", "search/size/"):
        stand_in.faults[f"/api/v2/images/{route}"].append("404")
    offer = archive.offer(Plan(), BENIGN)
    stand_in.faults.clear()
    assert (offer.n_images, offer.licences) == (whole.n_images, whole.licences)
    assert offer.bytes_per_image == pytest.approx(whole.bytes_per_image, rel=0.1)


def test_classes_are_found_at_any_level(archive):
    assert archive.diagnoses(["Benign", "Malignant"]) == [BENIGN, Diagnosis("diagnosis_1", "Malignant")]
    assert archive.diagnoses([" Nevus,Basal cell carcinoma"]) == [
        Diagnosis("diagnosis_3", "Nevus"),
        Diagnosis("diagnosis_3", "Basal cell carcinoma"),
    ]
    assert archive.diagnoses(["Melanoma, NOS"]) == [Diagnosis("diagnosis_3", "Melanoma, NOS")]
    assert archive.diagnoses(["malignant"]) == [Diagnosis("diagnosis_1", "Malignant")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Malignant", "nevus sebaceous"], r"no diagnosis 'nevus sebaceous'; it has .*Nevus"),
        (["Melanoma, NOS, Benign"], "no diagnosis 'Melanoma'.* in a --classes of its own"),
        (["Benign", "Benign"], "'Benign' is given twice"),
        (["Benign", "Nevus"], r"'Benign' and 'Nevus' share \d+ images"),
        ([""], "no diagnosis ''"),
        (['Benign" OR sex:"male'], "no diagnosis"),
        (["Mel*"], "no diagnosis 'Mel\\*'"),
    ],
)
def test_classes_that_cannot_be_told_are_refused(archive, names, message):
    with pytest.raises(ConfigError, match=message):
        archive.diagnoses(names)


def test_without_facets_a_wrong_class_is_still_explained(archive, stand_in):
    stand_in.faults["/api/v2/images/facets/"].append("404")
    with pytest.raises(ConfigError, match="no diagnosis 'Malign'; it has Malignant, Benign"):
        archive.diagnoses(["Malign"])
    stand_in.faults.clear()


def test_the_archive_is_asked_so_that_no_answer_is_cut(archive, stand_in):
    archive.check(Plan(collections=(70,)))
    archive.diagnoses(["Benign"])
    assert ids(archive.candidates(Plan(), BENIGN))
    for asked in stand_in.asked:
        assert asked.path.endswith("/")  # else every request would be two
        limit = parse_qs(asked.query).get("limit", ["100"])
        assert limit == ["100"] or (limit == ["1"] and "cursor" not in asked.query)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(query="benign_malignant:benign"), "does not understand the query 'benign_malignant:benign'"),
        (Plan(query="sex:male) OR (sex:female"), "does not understand the query"),
        (Plan(image_type="Dermoscopy"), "no image type 'Dermoscopy'; accepted: dermoscopic, clinical"),
        (Plan(image_type='"'), "no image type"),
        (Plan(collections=(70, 999)), "no public collection 999"),
    ],
)
def test_a_plan_that_the_archive_cannot_answer_is_refused(archive, plan, message):
    with pytest.raises(ConfigError, match=message):
        archive.check(plan)


def test_an_archive_that_refuses_everything_is_not_taken_for_a_wrong_plan(session, stand_in):
    with pytest.raises(FetchError, match="answered 404"):
        Archive(session, f"{stand_in.url}/elsewhere").check(Plan())


def test_a_collection_that_is_refused_is_not_taken_for_an_unknown_one(archive, stand_in):
    stand_in.faults["/api/v2/collections/70/"].append("403")
    with pytest.raises(FetchError, match="answered 403"):
        archive.check(Plan(collections=(70,)))
    stand_in.faults.clear()


def test_a_good_plan_passes(archive):
    archive.check(Plan(query="sex:male", collections=(70, 212), image_type="clinical: overview"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"licences": ("CC-0", "MIT")}, "licence 'MIT' is not one of the archive's: CC-0, CC-BY, CC-BY-NC"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Plan(**options)


def test_facets_count_values(archive, stand_in):
    facets = archive.facets("sex:male", [212])
    found = find(stand_in.images, "sex:male", [212])
    assert facets["copyright_license"] == Counter(image.licence for image in found)


def test_the_licence_texts_come_from_the_archive(archive):
    assert archive.licence_text("CC-BY-NC") == "The text of CC-BY-NC.\n"


def test_passing_faults_of_the_api_are_waited_for(archive, stand_in):
    stand_in.faults["/api/v2/images/search/"].extend(["503", "429", "reset", "short"])
    assert archive.count("diagnosis_1:Benign") == len(find(stand_in.images, "diagnosis_1:Benign"))


class Canned:
    """A session whose answers are written down."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def get_json(self, url, params=None):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def image(**changes):
    """An image as the API gives it, with some of it changed; None takes a key away."""
    whole = {
        "isic_id": "ISIC_0000001",
        "copyright_license": "CC-0",
        "attribution": "Anonymous",
        "files": {"full": {"url": "https://store.example/a.jpg", "size": 1}},
        "metadata": {
            "acquisition": {"pixels_x": 60, "pixels_y": 45},
            "clinical": {"diagnosis_1": "Benign"},
        },
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


def page(*images, next=None):
    return {"results": list(images), "count": len(images), "next": next, "previous": None}


def of_canned(*answers, plan=None):
    return list(
        Archive(Canned(*answers), "https://archive.example/api/v2/").candidates(plan or Plan(), BENIGN)
    )


@pytest.mark.parametrize("error", [-300, 5000])
def test_a_count_that_is_off_leaves_no_image_out(archive, stand_in, error):
    found = find(stand_in.images, f"diagnosis_1:Benign {DERMOSCOPIC}")
    stand_in.count_error = error
    offered = ids(archive.candidates(Plan(), BENIGN))
    stand_in.count_error = 0
    assert sorted(offered) == sorted(image.isic_id for image in found)


def test_what_is_not_known_stays_empty():
    (candidate,) = of_canned(page(image(attribution=None) | {"attribution": None}))
    assert (candidate.group, candidate.attribution, candidate.metadata["age"]) == (None, "", "")


def test_a_licence_that_is_new_is_kept_unless_others_were_asked_for():
    (candidate,) = of_canned(page(image(copyright_license="CC-BY-SA")))
    assert (candidate.licence, candidate.licence_url) == ("CC-BY-SA", "")
    with pytest.raises(FetchError, match="is under CC-BY-SA"):
        of_canned(page(image(copyright_license="CC-BY-SA")), plan=Plan(licences=("CC-0",)))


@pytest.mark.parametrize(
    "answer",
    [
        "hello",
        [],
        {"results": []},
        page("an image"),
        page(image(isic_id="../../etc/passwd")),
        page(image(isic_id="ISIC_0000001\n")),
        page(image(isic_id=7)),
        page(image(files=None)),
        page(image(files={"full": {}})),
        page(image(metadata={"clinical": {"diagnosis_1": "Benign"}})),
        page(
            image(
                metadata={
                    "acquisition": {"pixels_x": 1, "pixels_y": "x"},
                    "clinical": {"diagnosis_1": "Benign"},
                }
            )
        ),
        page(image(metadata={"acquisition": {"pixels_x": 1, "pixels_y": 1}, "clinical": {}})),
        page(
            image(
                metadata={
                    "acquisition": {"pixels_x": 1, "pixels_y": 1},
                    "clinical": {"diagnosis_1": "Malignant"},
                }
            )
        ),
    ],
)
def test_an_answer_of_another_shape_is_one_clear_error(answer):
    with pytest.raises(FetchError, match="did not answer as version 2 of its API does"):
        of_canned(answer)


@pytest.mark.parametrize(
    "following", ["https://elsewhere.example/api/v2/images/", "/images/", "file:///etc/passwd"]
)
def test_the_next_page_is_on_the_same_host(following):
    with pytest.raises(FetchError, match="sends us to"):
        of_canned(page(image(), next=following))


def test_a_list_without_an_end_is_left():
    endless = page(image(), next="https://archive.example/api/v2/images/search/?cursor=x")
    with pytest.raises(FetchError, match="does not end"):
        of_canned(endless)
    with pytest.raises(FetchError, match="does not end"):
        of_canned(page(next="https://archive.example/api/v2/images/search/?cursor=x"))


def test_an_image_that_is_listed_twice_is_offered_once():
    following = "http://archive.example/api/v2/images/search/?cursor=x"
    two = page(image(), image(isic_id="ISIC_0000002"))
    assert ids(of_canned(two, page(image(), next=following), two)) == sorted(
        ["ISIC_0000001", "ISIC_0000002"], key=lambda key: ids(of_canned(two)).index(key)
    )


def test_an_archive_that_ignores_slices_gives_every_image_once():
    everything = page(image(), image(isic_id="ISIC_0000002")) | {"count": 1000}
    assert sorted(ids(of_canned(everything))) == ["ISIC_0000001", "ISIC_0000002"]
