"""The capability names of CDMI 2.0: a name that starts with ``cdmi_`` must be one of these.

Source: CDMI 2.0, capability objects (system-wide, data object, container, domain, queue, and data
system metadata), with the widely used extensions ``cdmi_export_s3`` and ``cdmi_containers``.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

_PATTERNS: Final = """
cdmi_domains cdmi_dataobjects cdmi_queues cdmi_references cdmi_snapshots cdmi_containers
cdmi_serialization_json cdmi_multipart_mime cdmi_valuetransferencoding_json
cdmi_object_access_by_ID cdmi_post_{dataobject,queue}_by_ID cdmi_create_reference_by_ID
cdmi_create_value_range_by_ID cdmi_{copy,deserialize}_{dataobject,queue}_by_ID
cdmi_serialize_{dataobject,container,domain,queue}_to_ID cdmi_copy_dataobject_from_queue
cdmi_object_{move,copy}_from_{local,remote} cdmi_object_move_{from,to}_ID
cdmi_export_{nfs,smb,iscsi,occi_iscsi,webdav,s3} cdmi_metadata_{maxitems,maxsize,maxtotalsize}
cdmi_notification cdmi_logging cdmi_query cdmi_query_{regex,contains,tags,value}
cdmi_security_{access_control,data_integrity,encryption,immutability,sanitization,audit}
cdmi_dac cdmi_dac_methods cdmi_enc_{cms,jwe,inplace,access}
cdmi_dataobjects_as_containers cdmi_containers_as_dataobjects
cdmi_read_value cdmi_read_value_range cdmi_read_metadata cdmi_modify_value
cdmi_modify_value_range cdmi_modify_metadata cdmi_modify_deserialize_{dataobject,container,queue}
cdmi_modify_deserialize_domain cdmi_delete_{dataobject,container,domain,queue}
cdmi_list_children cdmi_list_children_range cdmi_snapshot cdmi_reference
cdmi_serialize_{dataobject,container,queue,domain}
cdmi_deserialize_{container,queue,dataobject,domain}
cdmi_create_{dataobject,container,queue,reference,domain,value_range}
cdmi_post_{dataobject,queue} cdmi_export_container_{nfs,smb,iscsi,occi,webdav,s3}
cdmi_{move,copy}_{container,dataobject,queue,domain} cdmi_domain_summary cdmi_domain_members
cdmi_authentication_methods cdmi_acl cdmi_size cdmi_{c,a,m}time cdmi_{a,m}count
cdmi_assignedsize cdmi_data_redundancy cdmi_{immediate,infrastructure}_redundancy
cdmi_data_{dispersion,retention,autodelete,holds} cdmi_encryption cdmi_geographic_placement
cdmi_latency cdmi_throughput cdmi_RPO cdmi_RTO cdmi_sanitization_method cdmi_value_hash
cdmi_versioning cdmi_versions_count cdmi_version_age cdmi_versions_size
cdmi_version_{object,current,oldest,parent,children}
"""


def _expand(pattern: str) -> list[str]:
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    return ["".join(choice) for choice in itertools.product(*parts)]


CDMI_CAPABILITIES: Final = frozenset(
    name for pattern in _PATTERNS.split() for name in _expand(pattern)
)
