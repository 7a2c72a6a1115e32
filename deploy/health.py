"""Whether the service in this container answers: exit status 0 or 1. For images without curl.

AFTERVIEW_HEALTH_URL replaces http://127.0.0.1:8077/health/live. Certificates are not checked: the address is this container's own.
"""

import os
import ssl
import sys
import urllib.request

URL = os.environ.get("AFTERVIEW_HEALTH_URL", "http://127.0.0.1:8077/health/live")

unchecked = ssl.create_default_context()
unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unchecked))
try:
    with no_proxy.open(URL, timeout=5) as answer:
        print(answer.status)
except (OSError, ValueError) as error:
    sys.exit(f"{URL}: {error}")
