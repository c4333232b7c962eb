"""The manifests of deploy/kubernetes, against each other and against the real binary (first argument)."""
import os
import sys

try:
    import http.client
    import re
    import subprocess
    import tempfile
    import unittest

    import yaml
except ImportError as missing:
    print(f"SKIPPED: {missing}: scripts/install_dependencies.sh scale-out")
    sys.exit(77)

BINARY = sys.argv.pop()
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "kubernetes")


class Strict(yaml.SafeLoader):
    """A key that stands twice in a mapping is an error: YAML forbids it, and PyYAML takes the last."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: a key stands twice in {keys}"
        return super().construct_mapping(node, deep)


def load(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return list(yaml.load_all(file, Loader=Strict))


# The fields that each object may have where we use it, by the published schemas: a mistyped one is silently dropped or
# refused by a cluster.
POD = {"terminationGracePeriodSeconds", "automountServiceAccountToken", "securityContext", "topologySpreadConstraints",
       "containers", "volumes"}
CONTAINER = {"name", "image", "args", "envFrom", "ports", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle",
             "resources", "securityContext", "volumeMounts"}
PROBE = {"httpGet", "periodSeconds", "timeoutSeconds", "failureThreshold"}
KINDS = {
    ("v1", "ConfigMap"): {"apiVersion", "kind", "metadata", "data"},
    ("apps/v1", "Deployment"): {"replicas", "selector", "strategy", "template"},
    ("v1", "Service"): {"selector", "ports", "clusterIP"},
    ("policy/v1", "PodDisruptionBudget"): {"maxUnavailable", "selector"},
    ("monitoring.coreos.com/v1", "PodMonitor"): {"selector", "podMetricsEndpoints"},
    ("inference.networking.k8s.io/v1", "InferencePool"): {"selector", "targetPorts", "endpointPickerRef"},
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {"parentRefs", "rules"},
}


class Manifests(unittest.TestCase):
    def setUp(self):
        self.all = [one for name in sorted(os.listdir(FOLDER)) if name.endswith(".yaml") for one in load(name)]
        self.by_kind = {}
        for one in self.all:
            self.by_kind.setdefault(one["kind"], []).append(one)
        self.deployment = self.by_kind["Deployment"][0]["spec"]
        self.pod = self.deployment["template"]["spec"]
        self.container = self.pod["containers"][0]
        self.port = self.container["ports"][0]

    def test_kinds_and_fields(self):
        names = set()
        for one in self.all:
            allowed = KINDS[(one["apiVersion"], one["kind"])]
            self.assertLessEqual(set(one.get("spec", one)), allowed, one["kind"])
            self.assertRegex(one["metadata"]["name"], r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
            key = (one["kind"], one["metadata"]["name"])
            self.assertNotIn(key, names)
            names.add(key)
        self.assertEqual({kind for _, kind in KINDS}, set(self.by_kind))
        self.assertLessEqual(set(self.pod), POD)
        self.assertLessEqual(set(self.container), CONTAINER)
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            self.assertLessEqual(set(self.container[name]), PROBE)

    def test_selectors_find_the_pods(self):
        labels = self.deployment["template"]["metadata"]["labels"]
        selectors = [self.deployment["selector"]["matchLabels"]]
        selectors += [one["spec"]["selector"] for one in self.by_kind["Service"]]
        for kind in ("PodDisruptionBudget", "PodMonitor", "InferencePool"):
            selectors += [one["spec"]["selector"]["matchLabels"] for one in self.by_kind[kind]]
        self.assertEqual(len(selectors), 6)
        for selector in selectors:
            self.assertTrue(selector and selector.items() <= labels.items(), selector)

    def test_ports_agree(self):
        config = self.by_kind["ConfigMap"][0]["data"]["millrace.toml"]
        self.assertEqual(self.port["containerPort"], int(re.search(r"^port = (\d+)", config, re.M)[1]))
        named = [probe["httpGet"]["port"] for key, probe in self.container.items() if key.endswith("Probe")]
        named += [port["targetPort"] for one in self.by_kind["Service"] for port in one["spec"]["ports"]]
        named += [end["port"] for end in self.by_kind["PodMonitor"][0]["spec"]["podMetricsEndpoints"]]
        self.assertEqual(set(named), {self.port["name"]})
        pool = self.by_kind["InferencePool"][0]["spec"]
        self.assertEqual(pool["targetPorts"], [{"number": self.port["containerPort"]}])
        self.assertIn("number", pool["endpointPickerRef"]["port"])
        backend = self.by_kind["HTTPRoute"][0]["spec"]["rules"][0]["backendRefs"][0]
        self.assertEqual((backend["kind"], backend["name"]), ("InferencePool", "millrace"))

    def test_volumes_and_configuration_agree(self):
        mounts = {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        self.assertEqual(set(mounts), set(volumes))
        self.assertEqual(volumes["config"]["configMap"]["name"], self.by_kind["ConfigMap"][0]["metadata"]["name"])
        file = self.container["args"][self.container["args"].index("--config") + 1]
        folder, name = os.path.split(file)
        self.assertEqual(folder, mounts["config"])
        self.assertIn(name, self.by_kind["ConfigMap"][0]["data"])

    def test_it_is_given_time_to_end(self):
        config = self.by_kind["ConfigMap"][0]["data"]["millrace.toml"]
        drain = int(re.search(r"^drain-timeout = (\d+)", config, re.M)[1])
        pause = int(self.container["lifecycle"]["preStop"]["exec"]["command"][1])
        self.assertGreater(self.pod["terminationGracePeriodSeconds"], drain + pause)
        readiness = self.container["readinessProbe"]
        self.assertGreaterEqual(pause, readiness["periodSeconds"] * readiness["failureThreshold"])

    def test_nothing_is_privileged(self):
        self.assertTrue(self.pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(self.pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")
        self.assertFalse(self.pod["automountServiceAccountToken"])
        security = self.container["securityContext"]
        self.assertFalse(security["allowPrivilegeEscalation"])
        self.assertTrue(security["readOnlyRootFilesystem"])
        self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
        self.assertEqual(self.container["resources"]["requests"], self.container["resources"]["limits"])

    def test_the_binary_serves_what_is_asked_of_it(self):
        """With the very file of the ConfigMap, but on loopback and a port of its own."""
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "millrace.toml")
            with open(file, "w", encoding="utf-8") as out:
                out.write(self.by_kind["ConfigMap"][0]["data"]["millrace.toml"])
            server = subprocess.Popen(
                [BINARY, "serve", "--config", file, "--host", "127.0.0.1", "--port", "0", "--kv-memory", "64MiB"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, MILLRACE_API_KEY="k"))
            try:
                line = next((line for line in server.stdout if "://127.0.0.1:" in line), None)
                self.assertIsNotNone(line, "it did not start")
                connection = http.client.HTTPConnection("127.0.0.1", int(re.search(r"://127.0.0.1:(\d+)", line)[1]))

                def get(path):
                    connection.request("GET", path)
                    response = connection.getresponse()
                    return response.status, response.read().decode()

                for key, probe in self.container.items():
                    if key.endswith("Probe"):
                        self.assertEqual(get(probe["httpGet"]["path"])[0], 200)
                status, metrics = get(self.by_kind["PodMonitor"][0]["spec"]["podMetricsEndpoints"][0]["path"])
                self.assertEqual(status, 200, "a picker sends no key")
                with open(os.path.join(FOLDER, "inference-pool.yaml"), encoding="utf-8") as pool:
                    named = set(re.findall(r"vllm:\w+", pool.read()))
                self.assertEqual(len(named), 3)
                for name in named:
                    self.assertRegex(metrics, rf"(?m)^# TYPE {name} gauge$")
                    self.assertRegex(metrics, rf"(?m)^{name}(\{{[^}}]*\}})? ")
                connection.close()
            finally:
                server.terminate()
                server.wait(60)
                server.stdout.close()
            self.assertEqual(server.returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
