"""What is inside the one file, as a CycloneDX document: names, versions, licences and where each came from."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Patch, PatchClassification, Pedigree
from cyclonedx.model.issue import IssueClassification, IssueType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from drydock.version import __version__
from release.build_root import STATIC, SUITE, build_root, installed
from release.sources import FIXES, PACKAGES, PYTHON, Source, fixes

_CVE = re.compile(r"CVE-[0-9]+-[0-9]{4,}")
_NAMESPACE = uuid.UUID("6f1d3c0e-0e0b-5d4a-9f43-0d2c2a0c7a11")
"""Of serial numbers, so that one file has one number."""


def bill_of_materials(arch: str, name: str, program: bytes, time: int) -> str:
    """The document, as JSON.

    Args:
        arch: what the file was built for.
        name: of the file.
        program: its bytes.
        time: of the commit, seconds since 1970.
    """
    licences = LicenseFactory()

    def component(source: Source) -> Component:
        return Component(
            name=source.name, version=source.version, type=ComponentType.LIBRARY, bom_ref=source.name,
            licenses=[licences.make_from_string(source.licence)],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=source.sha256)],
            purl=PackageURL("deb", "debian", FIXES.name, FIXES.version, {"arch": "source"})
            if source is PYTHON
            else PackageURL("pypi", None, source.name, source.version),
            pedigree=Pedigree(patches=_fixes()) if source is PYTHON else None,
            components=[
                Component(name=part, version=version, bom_ref=part, licenses=[licences.make_from_string(licence)])
                for part, version, licence in source.bundled
            ],
        )  # fmt: skip

    debian = [
        Component(
            name=STATIC[package][0], version=version, type=ComponentType.LIBRARY, bom_ref=package,
            licenses=[licences.make_from_string(STATIC[package][1])],
            purl=PackageURL("deb", "debian", package, version, {"distro": SUITE}),
        )
        for package, version in installed(build_root(arch), tuple(STATIC)).items()
    ]  # fmt: skip
    digest = hashlib.sha256(program).hexdigest()
    whole = Component(
        name="drydock", version=__version__, type=ComponentType.APPLICATION, bom_ref=name,
        licenses=[licences.make_from_string("Apache-2.0")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        purl=PackageURL("pypi", None, "containerd-drydock", __version__),
    )  # fmt: skip
    bom = Bom(
        components=[*map(component, (PYTHON, *PACKAGES)), *debian],
        serial_number=uuid.uuid5(_NAMESPACE, digest),
        metadata=BomMetaData(component=whole, timestamp=datetime.fromtimestamp(time, timezone.utc)),
    )
    bom.register_dependency(whole, bom.components)
    return str(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)) + "\n"


def _fixes() -> Iterator[Patch]:
    """What was applied to Python, by what each patch corrects."""
    for name, _ in fixes():
        number = _CVE.match(name)
        kind = IssueClassification.SECURITY if number else IssueClassification.DEFECT
        issue = IssueType(type=kind, id=number[0] if number else None, name=name)
        yield Patch(type=PatchClassification.BACKPORT, resolves=[issue])
