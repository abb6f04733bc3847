//! The machine's own `kubectl` against the API over TCP.

use std::{path::Path, process::Stdio, time::Duration};

use apiserver::ApiServer;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::Command,
    sync::oneshot,
    task::JoinSet,
};

const MANIFEST: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  ingressClassName: penstock
  rules:
  - host: a.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  ports: [{name: http, port: 80}]
"#;

/// The API on a port of its own, and a home for kubectl.
struct Session {
    home: tempfile::TempDir,
    address: String,
    stop: oneshot::Sender<()>,
    served: JoinSet<std::io::Result<()>>,
}

impl Session {
    /// None, and a line that says so, where there is no kubectl.
    async fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|folder| folder.join("kubectl").exists()) {
            println!("skipped: kubectl is not installed");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = ApiServer::new();
        let mut served = JoinSet::new();
        served.spawn(server.serve(listener, async { drop(stopped.await) }));
        Some(Self {
            home: tempfile::tempdir().unwrap(),
            address,
            stop,
            served,
        })
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(["--server", &self.address])
            .args(arguments.split_whitespace());
        command
            .current_dir(self.home.path())
            .env("HOME", self.home.path());
        command
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs kubectl; returns whether it succeeded, and everything that it printed.
    async fn run(&self, arguments: &str) -> (bool, String) {
        let output = self.command(arguments).output();
        let output = tokio::time::timeout(Duration::from_secs(60), output)
            .await
            .unwrap()
            .unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        text.push_str(&String::from_utf8(output.stderr).unwrap());
        (output.status.success(), text)
    }

    /// Runs kubectl with each of these arguments: it must succeed and print all the texts.
    async fn expect(&self, runs: &[(&str, &[&str])]) {
        for (arguments, texts) in runs {
            let (success, output) = self.run(arguments).await;
            assert!(success, "kubectl {arguments}\n{output}");
            for text in *texts {
                assert!(
                    output.contains(text),
                    "kubectl {arguments}: no {text:?} in\n{output}"
                );
            }
        }
    }

    /// Runs kubectl, which must fail and print this.
    async fn refuse(&self, arguments: &str, text: &str) {
        let (success, output) = self.run(arguments).await;
        assert!(!success, "kubectl {arguments}\n{output}");
        assert!(
            output.contains(text),
            "kubectl {arguments}: no {text:?} in\n{output}"
        );
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(Path::new(self.home.path()).join(name), text).unwrap();
    }

    async fn end(mut self) {
        self.stop.send(()).unwrap();
        self.served.join_next().await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn objects_are_applied_and_read() {
    let Some(kubectl) = Session::start().await else {
        return;
    };
    kubectl.write("web.yaml", MANIFEST);
    kubectl
        .expect(&[
            (
                "apply -f web.yaml",
                &[
                    "ingress.networking.k8s.io/web created",
                    "service/web created",
                ],
            ),
            (
                "apply -f web.yaml",
                &["web unchanged", "service/web unchanged"],
            ),
        ])
        .await;
    kubectl.write("web.yaml", &MANIFEST.replace("a.example", "b.example"));
    kubectl
        .expect(&[
            (
                "apply -f web.yaml",
                &["web configured", "service/web unchanged"],
            ),
            (
                "get ingress -A",
                &["CLASS", "HOSTS", "penstock", "b.example"],
            ),
            ("get svc -n shop -o wide", &["SELECTOR", "80/TCP"]),
            (
                "get ing web -n shop -o yaml",
                &["host: b.example", "generation: 2"],
            ),
            (
                "get ing -n shop -o jsonpath={.items[0].spec.rules[0].host}",
                &["b.example"],
            ),
            (
                "get svc,ing -n shop --selector app!=x -o name",
                &["service/web", "ingress.networking.k8s.io/web"],
            ),
        ])
        .await;
    kubectl.end().await;
}

#[tokio::test]
async fn objects_are_explained() {
    let Some(kubectl) = Session::start().await else {
        return;
    };
    kubectl.write("web.yaml", MANIFEST);
    kubectl
        .expect(&[
            ("create -f web.yaml", &["service/web created"]),
            (
                "describe ing web -n shop",
                &["Ingress Class:", "penstock", "web:http"],
            ),
            ("describe svc web -n shop", &["Type:", "ClusterIP"]),
            ("api-resources", &["endpointslices", "ing "]),
            (
                "explain ingress.spec.rules.host",
                &["fully qualified domain name"],
            ),
        ])
        .await;
    kubectl.end().await;
}

#[tokio::test]
async fn objects_are_changed_and_deleted() {
    let Some(kubectl) = Session::start().await else {
        return;
    };
    kubectl.write("web.yaml", MANIFEST);
    kubectl
        .expect(&[
            ("create -f web.yaml", &["service/web created"]),
            ("label ing web -n shop tier=front", &["labeled"]),
            ("annotate ing web -n shop a=b", &["annotated"]),
            ("get ing -n shop -l tier=front -o name", &["ingress.networking.k8s.io/web"]),
            (r#"patch svc web -n shop -p {"spec":{"ports":[{"port":80,"appProtocol":"h2c"}]}}"#, &["patched"]),
            (r#"patch svc web -n shop --type=merge -p {"spec":{"type":"NodePort"}}"#, &["patched"]),
            (r#"patch svc web -n shop --type=json -p [{"op":"add","path":"/spec/selector","value":{"a":"b"}}]"#, &["patched"]),
            ("get svc web -n shop -o yaml", &["name: http", "appProtocol: h2c", "type: NodePort", "a: b"]),
        ])
        .await;
    kubectl
        .refuse("create -f web.yaml", "(AlreadyExists)")
        .await;
    kubectl
        .expect(&[("delete ing web -n shop", &["deleted"])])
        .await;
    kubectl.refuse("get ing web -n shop", "(NotFound)").await;
    kubectl.expect(&[("delete ns shop", &["deleted"])]).await;
    kubectl.end().await;
}

#[tokio::test]
async fn objects_are_created_from_flags() {
    let Some(kubectl) = Session::start().await else {
        return;
    };
    for (arguments, texts) in [
        ("create namespace shop", "namespace/shop created"),
        (
            "create configmap c --from-literal=a=b",
            "configmap/c created",
        ),
        (
            "create secret generic g --from-literal=a=b",
            "secret/g created",
        ),
        (
            "create service clusterip s --tcp=80:8080",
            "service/s created",
        ),
        ("create serviceaccount a", "serviceaccount/a created"),
        (
            "create ingress i --class=c --rule=a.example/*=s:80,tls=t",
            "ingress.networking.k8s.io/i created",
        ),
    ] {
        kubectl.expect(&[(arguments, &[texts])]).await;
    }
    kubectl
        .expect(&[
            ("get configmap c -o jsonpath={.data.a}", &["b"]),
            ("get secret g -o jsonpath={.data.a}", &["Yg=="]),
            (
                "get svc s -o jsonpath={.spec.ports[0].targetPort}",
                &["8080"],
            ),
            (
                "get ing i -o yaml",
                &["path: /", "pathType: Prefix", "secretName: t", "number: 80"],
            ),
        ])
        .await;
    kubectl.end().await;
}

#[tokio::test]
async fn server_side_apply_knows_owners() {
    let Some(kubectl) = Session::start().await else {
        return;
    };
    kubectl.write("web.yaml", MANIFEST);
    kubectl
        .expect(&[("apply --server-side -f web.yaml", &["serverside-applied"])])
        .await;
    kubectl.write("web.yaml", &MANIFEST.replace("penstock", "other"));
    kubectl
        .refuse(
            "apply --server-side --field-manager=me -f web.yaml",
            "conflict with \"kubectl\"",
        )
        .await;
    kubectl
        .expect(&[
            (
                "apply --server-side --field-manager=me --force-conflicts -f web.yaml",
                &["serverside-applied"],
            ),
            (
                "get ing web -n shop -o yaml --show-managed-fields",
                &["manager: me", "ingressClassName: other"],
            ),
        ])
        .await;
    kubectl.end().await;
}

#[tokio::test]
async fn faults_in_a_file_are_named() {
    let Some(kubectl) = Session::start().await else {
        return;
    };
    kubectl.write("web.yaml", &MANIFEST.replace("pathType", "pathTypo"));
    kubectl
        .refuse("apply -f web.yaml", "spec.rules[0].http.paths[0].pathT")
        .await;
    kubectl.write("web.yaml", &MANIFEST.replace("port: 80", "port: 80000"));
    kubectl
        .refuse(
            "apply -f web.yaml",
            "spec.ports[0].port: Invalid value: 80000",
        )
        .await;
    kubectl.end().await;
}

#[tokio::test]
async fn changes_are_followed() {
    let Some(kubectl) = Session::start().await else {
        return;
    };
    kubectl.write("web.yaml", MANIFEST);
    kubectl.expect(&[("apply -f web.yaml", &[])]).await;
    let mut child = kubectl
        .command("get ing -n shop --watch")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line());
        line.await.unwrap().unwrap().unwrap()
    };
    assert!(next().await.starts_with("NAME"));
    assert!(next().await.contains("a.example"));
    kubectl.write("web.yaml", &MANIFEST.replace("a.example", "b.example"));
    kubectl
        .expect(&[("apply -f web.yaml", &["configured"])])
        .await;
    assert!(next().await.contains("b.example"));
    kubectl.end().await;
}
