"""The questionnaires a department begins with, in our own words; every one of them is the site's to change."""

from django.db import transaction

from ris.accounts.models import User
from ris.safety.actions import Edition, draft_questionnaire, publish_questionnaire
from ris.safety.models import Question, Questionnaire

_IONISING = ("CT", "NM", "PT", "RF", "XA", "DX", "CR", "MG")


def _yes_no(code: str, text: str, effect: str = "", sentence: str = "", **more: object) -> Question:
    made: dict[str, object] = {"code": code, "text": text, "kind": "yesno", "matters": ["yes"]}
    if effect:
        made["effect"] = effect
    if sentence:
        made["sentence"] = sentence
    return made | more  # type: ignore[return-value]


_PREGNANCY_CHOICES = [["not", "No"], ["possible", "It is possible"], ["definite", "Yes"]]

MR = Edition(
    code="MR",
    title="MR safety",
    intro="The magnet is always on. Anything of metal or with a battery may move, heat up or stop working in it.",
    modalities=("MR",),
    questions=(
        _yes_no("pacemaker", "Do you have a pacemaker, a defibrillator, or wires left from one?", "implant",
                follow_up="Which, and since when?", asked_as=["pacemaker", "defibrillator", "ICD"]),
        _yes_no("clips", "Has a vessel in your head been clipped or coiled, or is there a drain or valve in your head?",
                "implant", follow_up="Where and when was it done?", asked_as=["aneurysm"]),
        _yes_no("electronic", "Do you have another device with a battery or wires in or on you: a nerve or brain "
                "stimulator, a hearing implant, a pump, a sugar sensor?", "implant", follow_up="Which?",
                asked_as=["stimulator", "cochlear", "insulin pump"]),
        _yes_no("metal-inside", "Has anything of metal been put into your body: a joint, plates, screws, a stent, "
                "a heart valve, a filter, a coil?", "implant", follow_up="What, where and when?", asked_as=["implant"]),
        _yes_no("splinters", "Has metal ever hit your eyes, or are there splinters, shot or bullets in your body?", "ask",
                "Metal splinters: rule them out by X-ray or an older picture first", follow_up="Where? Was it removed?",
                asked_as=["metal fragment", "foreign body"]),
        _yes_no("operations", "Have you been operated on in the last eight weeks?", "ask",
                "Operated on lately: look up what was put in", follow_up="What was done?"),
        _yes_no("outside", "Do you wear anything that does not come off: piercings, hair extensions, magnetic lashes, "
                "medicine patches?", "condition", "Take off or cover what is worn; patches come off", follow_up="What?"),
        _yes_no("tattoo", "Do you have large tattoos or permanent make-up?", "condition",
                "Tattoos may warm: cool pack, and stop when it burns", follow_up="Where?"),
        _yes_no("teeth", "Do you have dentures, a brace, or magnets in your mouth?", "condition",
                "Take out what can be taken out"),
        _yes_no("hearing-aid", "Do you wear hearing aids or glasses?", "condition", "Hearing aids and glasses stay outside"),
        _yes_no("narrow", "Do narrow spaces frighten you, or can you not lie flat and still for half an hour?", "condition",
                "Show the bell first; offer eye cover and company", states="claustrophobia", asked_as=["claustrophob"]),
        _yes_no("seizures", "Have you ever had a seizure, or do you faint easily?", "condition",
                "Keep in sight during the scan"),
        {"code": "pregnant", "text": "Could you be pregnant?", "kind": "choice", "choices": _PREGNANCY_CHOICES,
         "states": "pregnancy", "childbearing": True, "asked_as": ["pregnan"]},
        {"code": "weight", "text": "How much do you weigh, in kilograms?", "kind": "number", "states": "weight"},
    ),
)  # fmt: skip

CT_CONTRAST = Edition(
    code="CTC",
    title="Iodine contrast",
    intro="For this exam a contrast medium with iodine is given into a vein.",
    modalities=("CT", "XA", "RF"),
    contrast="with",
    questions=(
        _yes_no("before", "Have you ever reacted to a contrast medium: rash, vomiting, short of breath, collapse?", "ask",
                "Reacted to contrast before: record to which and how badly", follow_up="What happened, and when?",
                asked_as=["contrast reaction", "contrast allergy"]),
        _yes_no("allergy", "Have you ever had a severe allergic reaction to anything, or do you have asthma that needs "
                "treatment now?", "condition", "Severe allergy or asthma: watch for 30 minutes", follow_up="To what?",
                asked_as=["asthma"]),
        _yes_no("kidneys", "Have you a kidney disease, only one kidney, or a transplanted one?", "ask",
                "Kidney disease: look at the eGFR", follow_up="Which?", asked_as=["kidney", "renal"]),
        _yes_no("diabetes", "Do you have diabetes?", states="diabetes", asked_as=["diabet"]),
        _yes_no("metformin", "Do you take metformin, alone or within another tablet?", states="metformin",
                asked_as=["metformin"]),
        _yes_no("thyroid", "Is your thyroid overactive, or are you to have radioiodine?", "ask",
                "Overactive thyroid: talk to the requester before iodine", asked_as=["thyroid"]),
        _yes_no("thinner", "Do you take a blood thinner?", states="anticoagulant", follow_up="Which, and when last?",
                asked_as=["anticoag", "blood thinner"]),
        _yes_no("heart", "Do you have heart failure or myasthenia, or a tumour of the adrenal gland?", "ask",
                "Heart failure, myasthenia or phaeochromocytoma: ask before contrast", follow_up="Which?"),
        _yes_no("nursing", "Are you breast-feeding?", "condition", "Breast-feeding may go on; say so if asked",
                childbearing=True),
    ),
)  # fmt: skip

MR_CONTRAST = Edition(
    code="MRC",
    title="Gadolinium contrast",
    intro="For this exam a contrast medium with gadolinium is given into a vein.",
    modalities=("MR",),
    contrast="with",
    questions=(
        _yes_no("before", "Have you ever reacted to a contrast medium in MR?", "ask",
                "Reacted to gadolinium before: record to which and how badly", follow_up="What happened, and when?"),
        _yes_no("allergy", "Have you ever had a severe allergic reaction to anything, or asthma that needs treatment now?",
                "condition", "Severe allergy or asthma: watch for 30 minutes", follow_up="To what?"),
        _yes_no("kidneys", "Have you a severe kidney disease, or are you on dialysis?", "ask",
                "Severe kidney disease: look at the eGFR and choose the agent", asked_as=["dialysis", "renal"]),
        _yes_no("lately", "Have you had MR contrast in the last week?", "condition", "Contrast again within a week: say why"),
        _yes_no("nursing", "Are you breast-feeding?", "condition", "Breast-feeding may go on; say so if asked",
                childbearing=True),
    ),
)  # fmt: skip

PREGNANCY = Edition(
    code="PREG",
    title="Pregnancy and X-rays",
    intro="X-rays and radioactive tracers can harm an unborn child. Answers stay between you and the staff.",
    modalities=_IONISING,
    childbearing=True,
    questions=(
        {"code": "pregnant", "text": "Could you be pregnant?", "kind": "choice", "choices": _PREGNANCY_CHOICES,
         "states": "pregnancy", "asked_as": ["pregnan"], "help": "Sterilised, or no intercourse since the last period: No."},
        {"code": "period", "text": "When did your last period begin?", "kind": "date"},
    ),
)  # fmt: skip

NUCLEAR = Edition(
    code="NM",
    title="Radioactive tracer",
    intro="For this exam a small amount of a radioactive substance is given.",
    modalities=("NM", "PT"),
    questions=(
        _yes_no("nursing", "Are you breast-feeding?", "ask", "Breast-feeding: how long to pause depends on the tracer",
                childbearing=True),
        _yes_no("children", "Will you be close to small children or somebody pregnant today?", "condition",
                "Keep a distance of two metres for the time on the sheet"),
        _yes_no("diabetes", "Do you have diabetes?", "condition", "Diabetes: measure the sugar before FDG",
                states="diabetes", follow_up="Tablets or insulin, and when last?"),
        _yes_no("fasted", "Have you eaten or drunk anything but water in the last six hours?", "condition",
                "Not fasted: check whether the tracer allows it"),
        _yes_no("lately", "Have you had a tracer or a barium meal in the last week?", "condition",
                "Earlier tracer or barium: check for overlap", follow_up="Which, and when?"),
    ),
)  # fmt: skip

EDITIONS = (MR, CT_CONTRAST, MR_CONTRAST, PREGNANCY, NUCLEAR)


@transaction.atomic
def add_default_questionnaires(*, by: User) -> None:
    """Publish what a new department asks; those it has stay."""
    known = set(Questionnaire.objects.values_list("code", flat=True))
    for edition in EDITIONS:
        if edition.code not in known:
            publish_questionnaire(draft_questionnaire(edition, by=by), by=by)
