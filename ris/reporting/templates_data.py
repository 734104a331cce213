"""The wording that comes with the product: short, quiet normals and [fields] that must be filled or cleared."""

from ris.accounts.models import User
from ris.reporting.actions import NewTemplate, keep_template
from ris.reporting.sections import CLINICAL, COMPARISON, FINDINGS, IMPRESSION, TECHNIQUE, Section, section


def _wording(technique: str, findings: str, impression: str = "[impression]") -> tuple[Section, ...]:
    return (
        section(CLINICAL),
        section(TECHNIQUE, technique),
        section(COMPARISON),
        section(FINDINGS, findings.strip()),
        section(IMPRESSION, impression),
    )


_HEAD = """
Brain: No haemorrhage, mass or acute infarct. Grey-white differentiation preserved.
Ventricles: Normal for age. No midline shift.
Extra-axial spaces: No collection.
Vessels: No hyperdense vessel.
Sinuses, mastoids: Clear.
Skull and scalp: No fracture.
"""

_ABDOMEN = """
Liver: Normal size and attenuation. No focal lesion.
Biliary: No ductal dilatation. Gallbladder thin-walled, no calculi.
Pancreas: Normal.
Spleen: Normal.
Adrenals: Normal.
Kidneys: Symmetric. [stones: none / describe]
Bowel: No obstruction or wall thickening. Appendix normal.
Vessels: Aorta and portal vein patent, normal calibre.
Peritoneum: No free fluid or gas. No enlarged node.
Pelvis: Bladder normal.
Bones: No aggressive lesion.
"""

_CHEST_CT = """
Lungs: Clear. [nodules: none / describe]
Airways: Patent.
Pleura: No effusion or pneumothorax.
Heart: Normal size. No pericardial effusion.
Mediastinum: No enlarged node.
Vessels: Normal calibre.
Upper abdomen: Normal as far as seen.
Bones: No aggressive lesion.
"""

_CHEST_XR = """
Lungs: Clear.
Pleura: No effusion or pneumothorax.
Heart: Normal size.
Mediastinum: Normal contours.
Bones: No acute abnormality.
Lines and tubes: None.
"""

_BRAIN_MR = """
Diffusion: No restricted diffusion.
Brain: No mass or haemorrhage. [white matter: normal / describe]
Ventricles: Normal for age.
Extra-axial spaces: No collection.
Vessels: Normal flow voids.
Pituitary, orbits: Normal.
Sinuses, mastoids: Clear.
"""

_KNEE_MR = """
Medial meniscus: Intact.
Lateral meniscus: Intact.
Cruciates: Intact.
Collaterals: Intact.
Extensors: Intact.
Cartilage: [grade by compartment: normal / describe]
Bone: No fracture or marrow oedema.
Joint: No effusion. No Baker cyst.
"""

_ABDOMEN_US = """
Liver: Normal size and echotexture. No focal lesion.
Gallbladder: No stones. Wall normal.
Bile ducts: Not dilated. Common duct [mm] mm.
Pancreas: Normal as far as seen.
Spleen: Normal size, [cm] cm.
Kidneys: Normal size and echogenicity. No hydronephrosis.
Aorta: Normal calibre.
Ascites: None.
"""

_ABDOMEN_XR = """
Bowel gas: Normal pattern. No free gas.
Calcifications: [none / describe]
Soft tissues: Normal.
Bones: No acute abnormality.
"""

_BONE_XR = """
Bones: No fracture.
Joint: Normal alignment. Joint space preserved.
Soft tissues: No swelling or foreign body.
"""

_NO_FINDING = "No acute finding."

DEFAULT_TEMPLATES = (
    NewTemplate("General", _wording("", "[findings]")),
    NewTemplate("CT", _wording("[phase and contrast].", "[findings]"), "CT"),
    NewTemplate("CT head", _wording("Axial, without contrast.", _HEAD, _NO_FINDING), "CT", "Head"),
    NewTemplate("CT chest", _wording("[phase and contrast].", _CHEST_CT, _NO_FINDING), "CT", "Chest"),
    NewTemplate(
        "CT abdomen and pelvis",
        _wording("Portal venous phase. [contrast and dose].", _ABDOMEN, _NO_FINDING),
        "CT",
        "Abdomen and pelvis",
    ),
    NewTemplate("MR brain", _wording("[sequences].", _BRAIN_MR, _NO_FINDING), "MR", "Head"),
    NewTemplate("MR knee", _wording("Standard knee protocol.", _KNEE_MR), "MR", "Knee"),
    NewTemplate("US abdomen", _wording("Transabdominal.", _ABDOMEN_US, _NO_FINDING), "US", "Abdomen"),
    NewTemplate("XR chest", _wording("", _CHEST_XR, _NO_FINDING), "DX", "Chest"),
    NewTemplate("XR abdomen", _wording("", _ABDOMEN_XR, _NO_FINDING), "DX", "Abdomen"),
    NewTemplate("XR bones and joints", _wording("", _BONE_XR, "No fracture."), "DX"),
)


def add_default_templates(by: User) -> None:
    """Add them all; what is there already under the same name gets this wording again."""
    for template in DEFAULT_TEMPLATES:
        keep_template(template, by=by)
