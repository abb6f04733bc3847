//! A folder of manifests: edits in all the ways in which people and programs make them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use cluster::{Change, Changes, Cluster, Finding};
use daemon::Process;
use futures_util::FutureExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use tempfile::TempDir;

use crate::rig::{PATIENCE, metric, name, next, of_folder, set, until_synced, values};

fn document(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: \"{value}\"\n"
    )
}

/// Parses, but the API refuses it: line 6 holds a number where a text has to be.
fn refused(name: &str) -> String {
    document(name, "0").replace("\"0\"", "7")
}

const BROKEN: &str = "apiVersion: v1\nkind: [ConfigMap\n";

/// A folder with files, watched.
struct Rig {
    folder: TempDir,
    process: Process,
    cluster: Cluster,
    changes: Changes<String>,
}

async fn rig(files: &[(&str, String)], want: &[Change<String>]) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in files {
        fs::write(folder.path().join(file), text).unwrap();
    }
    let (process, cluster) = of_folder(folder.path()).await;
    let mut changes = values(&cluster);
    let mut got = until_synced(&mut changes).await;
    assert_eq!(got.pop(), Some(Change::Synced));
    assert_eq!(got, want);
    Rig {
        folder,
        process,
        cluster,
        changes,
    }
}

impl Rig {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    async fn next(&mut self) -> Change<String> {
        next(&mut self.changes).await
    }

    /// Nothing has changed up to what is written now.
    async fn nothing_but(&mut self, marker: &str) {
        self.write("zz-marker.yaml", &document("marker", marker));
        assert_eq!(self.next().await, set("marker", marker));
        assert!(
            self.changes.as_mut_next().is_none(),
            "something else changed"
        );
    }

    async fn findings(&self, want: &[(&str, usize, Option<u64>, &str)]) -> Vec<Finding> {
        let place = |it: &Finding| {
            let file = it.file.to_str().unwrap().to_owned();
            (file, it.document, it.line, it.field.clone())
        };
        let want: Vec<_> = want
            .iter()
            .map(|it| (it.0.to_owned(), it.1, it.2, it.3.to_owned()))
            .collect();
        let mut findings = self.cluster.manifest_findings();
        let wanted = async {
            while findings.iter().map(place).collect::<Vec<_>>() != want {
                tokio::time::sleep(Duration::from_millis(5)).await;
                findings = self.cluster.manifest_findings();
            }
        };
        let found = tokio::time::timeout(PATIENCE, wanted).await;
        assert!(found.is_ok(), "want {want:?}, found {findings:#?}");
        let counted = metric(&self.process, "penstock_manifest_problems");
        assert_eq!(counted, findings.len());
        findings.to_vec()
    }
}

trait MaybeNext {
    fn as_mut_next(&mut self) -> Option<Change<String>>;
}

impl MaybeNext for Changes<String> {
    fn as_mut_next(&mut self) -> Option<Change<String>> {
        futures_util::StreamExt::next(self).now_or_never().flatten()
    }
}

#[tokio::test]
async fn files_are_created_edited_and_deleted() {
    let mut rig = rig(&[("a.yaml", document("a", "1"))], &[set("a", "1")]).await;
    rig.write("b.yml", &document("b", "1"));
    assert_eq!(rig.next().await, set("b", "1"));
    rig.write(
        "c.json",
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}"#,
    );
    assert_eq!(rig.next().await, set("c", ""));
    rig.write("a.yaml", &document("a", "2"));
    assert_eq!(rig.next().await, set("a", "2"));
    fs::remove_file(rig.path().join("b.yml")).unwrap();
    assert_eq!(rig.next().await, Change::Removed(name("b")));
    rig.write("notes.txt", &document("d", "1"));
    rig.write(".hidden.yaml", &document("d", "1"));
    rig.nothing_but("1").await;
}

#[tokio::test]
async fn documents_come_change_and_go() {
    let text = |parts: &[String]| parts.join("---\n");
    let (a, b, c) = (document("a", "1"), document("b", "1"), document("c", "1"));
    let mut rig = rig(
        &[("x.yaml", text(&[a.clone(), b.clone()]))],
        &[set("a", "1"), set("b", "1")],
    )
    .await;
    rig.write("x.yaml", &text(&[c.clone(), a.clone(), b]));
    assert_eq!(rig.next().await, set("c", "1"));
    rig.write("x.yaml", &text(&[c, document("b", "2")]));
    assert_eq!(rig.next().await, set("b", "2"));
    assert_eq!(rig.next().await, Change::Removed(name("a")));
    rig.write("x.yaml", "");
    let mut gone = [rig.next().await, rig.next().await];
    gone.sort_by_key(|it| format!("{it:?}"));
    assert_eq!(
        gone,
        [Change::Removed(name("b")), Change::Removed(name("c"))]
    );
}

#[tokio::test]
async fn a_broken_document_harms_nothing_else_and_is_named() {
    let text = format!(
        "{}---\n{}---\n{}",
        document("a", "1"),
        document("b", "1"),
        document("c", "1")
    );
    let all = [set("a", "1"), set("b", "1"), set("c", "1")];
    let mut rig = rig(&[("x.yaml", text)], &all).await;
    // The second does not parse, the third is refused; the first changes.
    rig.write(
        "x.yaml",
        &format!("{}---\n{BROKEN}---\n{}", document("a", "2"), refused("c")),
    );
    assert_eq!(rig.next().await, set("a", "2"));
    let findings = rig
        .findings(&[
            ("x.yaml", 2, Some(9), ""),
            ("x.yaml", 3, Some(16), "data[value]"),
        ])
        .await;
    assert!(
        findings[0].message.starts_with("not YAML: "),
        "{}",
        findings[0]
    );
    assert!(findings[1].message.contains("string"), "{}", findings[1]);
    rig.nothing_but("1").await;
    // Mended, with one of them removed.
    rig.write(
        "x.yaml",
        &format!("{}---\n{}", document("a", "2"), document("c", "3")),
    );
    assert_eq!(rig.next().await, set("c", "3"));
    assert_eq!(rig.next().await, Change::Removed(name("b")));
    rig.findings(&[]).await;
}

#[tokio::test]
async fn a_file_that_is_broken_from_the_start_is_reported() {
    let mut rig = rig(
        &[
            ("a.yaml", BROKEN.to_owned()),
            ("b.yaml", document("b", "1")),
        ],
        &[set("b", "1")],
    )
    .await;
    rig.findings(&[("a.yaml", 1, Some(2), "")]).await;
    rig.write("a.yaml", &document("a", "1"));
    assert_eq!(rig.next().await, set("a", "1"));
    rig.write(
        "c.yaml",
        "kind: ConfigMap\napiVersion: v1\nmetadata:\n  labels: {}\n",
    );
    rig.write(
        "d.yaml",
        "kind: Unheard\napiVersion: of/v1\nmetadata: {name: d}\n",
    );
    fs::write(rig.path().join("e.yaml"), [0xff, 0xfe, 0xff]).unwrap();
    rig.findings(&[
        ("c.yaml", 1, Some(3), "metadata.name"),
        ("d.yaml", 1, Some(1), ""),
        ("e.yaml", 0, None, ""),
    ])
    .await;
}

#[tokio::test]
async fn the_first_definition_wins_and_the_other_takes_over() {
    let files = [
        ("a.yaml", document("x", "a")),
        ("b.yaml", document("x", "b")),
    ];
    let mut rig = rig(&files, &[set("x", "a")]).await;
    let findings = rig
        .findings(&[("b.yaml", 1, Some(4), "metadata.name")])
        .await;
    assert!(
        findings[0].message.contains("document 1 of a.yaml"),
        "{}",
        findings[0]
    );
    fs::remove_file(rig.path().join("a.yaml")).unwrap();
    assert_eq!(rig.next().await, set("x", "b"));
    rig.findings(&[]).await;
    rig.write("a.yaml", &document("x", "c"));
    assert_eq!(rig.next().await, set("x", "c"));
}

#[tokio::test]
async fn a_rename_changes_nothing() {
    let mut rig = rig(&[("a.yaml", document("x", "1"))], &[set("x", "1")]).await;
    fs::rename(rig.path().join("a.yaml"), rig.path().join("b.yaml")).unwrap();
    rig.nothing_but("1").await;
    rig.write("b.yaml", &document("x", "2"));
    assert_eq!(rig.next().await, set("x", "2"));
    fs::rename(rig.path().join("b.yaml"), rig.path().join("b.yaml.off")).unwrap();
    assert_eq!(rig.next().await, Change::Removed(name("x")));
}

#[tokio::test]
async fn editors_that_write_aside_and_rename_are_understood() {
    let mut rig = rig(&[("a.yaml", document("x", "1"))], &[set("x", "1")]).await;
    let file = rig.path().join("a.yaml");
    // As most editors do.
    rig.write(".a.yaml.swp", &document("x", "2"));
    fs::rename(rig.path().join(".a.yaml.swp"), &file).unwrap();
    assert_eq!(rig.next().await, set("x", "2"));
    // As vi does: the old file is moved away first.
    fs::rename(&file, rig.path().join("a.yaml~")).unwrap();
    rig.write("a.yaml", &document("x", "3"));
    fs::remove_file(rig.path().join("a.yaml~")).unwrap();
    assert_eq!(rig.next().await, set("x", "3"));
}

#[tokio::test]
async fn a_file_that_is_half_written_is_not_read() {
    let two = format!("{}---\n{}", document("a", "1"), document("b", "1"));
    let mut rig = rig(&[("x.yaml", two)], &[set("a", "1"), set("b", "1")]).await;
    let mut file = File::create(rig.path().join("x.yaml")).unwrap();
    file.write_all(document("a", "2").as_bytes()).unwrap();
    file.flush().unwrap();
    file.write_all(format!("---\n{}", document("b", "2")).as_bytes())
        .unwrap();
    drop(file);
    let mut changed = [rig.next().await, rig.next().await];
    changed.sort_by_key(|it| format!("{it:?}"));
    assert_eq!(changed, [set("a", "2"), set("b", "2")]);
    // One that stays open is read when it is silent.
    let mut open = File::create(rig.path().join("open.yaml")).unwrap();
    open.write_all(document("open", "1").as_bytes()).unwrap();
    assert_eq!(rig.next().await, set("open", "1"));
}

#[tokio::test]
async fn folders_within_are_read() {
    let mut rig = rig(&[], &[]).await;
    fs::create_dir_all(rig.path().join("sub/deep")).unwrap();
    rig.write("sub/deep/a.yaml", &document("a", "1"));
    assert_eq!(rig.next().await, set("a", "1"));
    rig.write("sub/deep/a.yaml", &document("a", "2"));
    assert_eq!(rig.next().await, set("a", "2"));
    fs::rename(rig.path().join("sub"), rig.path().join("other")).unwrap();
    rig.nothing_but("1").await;
    fs::remove_dir_all(rig.path().join("other")).unwrap();
    assert_eq!(rig.next().await, Change::Removed(name("a")));
}

/// As the kubelet mounts a ConfigMap: files are links through `..data`, which is swapped.
#[tokio::test]
async fn a_mounted_config_map_that_is_swapped_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let publish = |version: &str, value: &str| {
        let data = folder.path().join(version);
        fs::create_dir(&data).unwrap();
        fs::write(data.join("a.yaml"), document("a", value)).unwrap();
        symlink(version, folder.path().join("..data_tmp")).unwrap();
        fs::rename(
            folder.path().join("..data_tmp"),
            folder.path().join("..data"),
        )
        .unwrap();
    };
    publish("..2024_01", "1");
    symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
    let (_process, cluster) = of_folder(folder.path()).await;
    let mut changes = values(&cluster);
    assert_eq!(
        until_synced(&mut changes).await,
        [set("a", "1"), Change::Synced]
    );
    publish("..2024_02", "2");
    assert_eq!(next(&mut changes).await, set("a", "2"));
}

#[tokio::test]
async fn lists_are_their_members() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n  data: {value: \"1\"}\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: b}\n  data: {value: 7}\n";
    let mut rig = rig(&[("l.yaml", list.to_owned())], &[set("a", "1")]).await;
    rig.findings(&[("l.yaml", 1, Some(11), "items[1].data[value]")])
        .await;
    rig.write("l.yaml", &list.replace('7', "\"2\""));
    assert_eq!(rig.next().await, set("b", "2"));
    rig.findings(&[]).await;
}

#[tokio::test]
async fn what_others_wrote_stays() {
    let mut rig = rig(&[("a.yaml", document("a", "1"))], &[set("a", "1")]).await;
    let api: Api<ConfigMap> = Api::default_namespaced(rig.cluster.client());
    let other: ConfigMap = serde_json::from_value(crate::rig::config_map("other", "1")).unwrap();
    api.create(&Default::default(), &other).await.unwrap();
    assert_eq!(rig.next().await, set("other", "1"));
    fs::remove_file(rig.path().join("a.yaml")).unwrap();
    assert_eq!(rig.next().await, Change::Removed(name("a")));
    rig.nothing_but("1").await;
    assert!(api.get("other").await.is_ok());
}

#[tokio::test]
async fn types_are_taken_before_what_is_of_them() {
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gates.example.org}\nspec:\n  group: example.org\n  names: {kind: Gate, plural: gates, singular: gate}\n  scope: Namespaced\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object}}\n";
    let gate = "apiVersion: example.org/v1\nkind: Gate\nmetadata: {name: g}\n";
    let rig = rig(&[("a.yaml", gate.to_owned())], &[]).await;
    rig.findings(&[("a.yaml", 1, Some(1), "")]).await;
    rig.write("z.yaml", definition);
    rig.findings(&[]).await;
}

/// 200 ms, as a machine that is busy with something else counts them: twenty ticks, each of which
/// waits for its turn like everything that an edit goes through.
async fn a_fifth_of_a_second() {
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Any of many edits: the promise is for a machine that has nothing else to do, and each of them is
/// held up by what the machine does just then.
#[tokio::test]
async fn an_edit_is_live_within_200_ms() {
    let mut rig = rig(&[("a.yaml", document("a", "0"))], &[set("a", "0")]).await;
    let mut late = Vec::new();
    for value in 1..50 {
        let value = value.to_string();
        let text = document("a", &value);
        let begin = Instant::now();
        rig.write("a.yaml", &text);
        let in_time = tokio::select! {
            biased;
            change = rig.next() => Some(change),
            () = a_fifth_of_a_second() => None,
        };
        match in_time {
            Some(change) => {
                assert_eq!(change, set("a", &value));
                return;
            }
            None => assert_eq!(rig.next().await, set("a", &value)),
        }
        late.push(begin.elapsed());
    }
    panic!("all were late: {late:?}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let error = Cluster::offline(Path::new("/nonexistent/folder"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/nonexistent/folder"), "{error}");
}
