//! Archives as a peer may send them, good and bad (`spec/protocol.md` 10.2, 10.3, 10.6).

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use serde_json::{Map, Value, json};

const PATH_SEP: &[u8] = b"|//@@//|";
const FILE_SEP: &[u8] = b"|@@//@@|";

/// An archive of these members, in this order, and the metadata.
pub fn archive(members: &[(&str, &[u8])], metadata: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in members {
        member(&mut bytes, name, content);
        bytes.extend_from_slice(FILE_SEP);
    }
    member(&mut bytes, "files_metadata.json", metadata.to_string().as_bytes());
    bytes
}

fn member(bytes: &mut Vec<u8>, name: &str, content: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(PATH_SEP);
    let mut encoder = ZlibEncoder::new(bytes, Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap();
}

/// The metadata of one file.
pub fn entry(key: &str, content: &[u8]) -> Value {
    let hash = blake2b_simd::blake2b(content).to_hex();
    json!({"mod_time": 1_795_426_503.5, "cluster_item_key": key, "merged": false, "hash": &*hash})
}

/// A worker's metadata: path, key and content of each file.
pub fn manifest(files: &[(&str, &str, &[u8])]) -> Value {
    Value::Object(files.iter().map(|(path, key, content)| ((*path).to_owned(), entry(key, content))).collect())
}

/// A master's metadata.
pub fn update(missing: &[(&str, Value)], shared: &[(&str, Value)], extra: &[(&str, Value)]) -> Value {
    let list = |files: &[(&str, Value)]| -> Map<String, Value> {
        files.iter().map(|(path, entry)| ((*path).to_owned(), entry.clone())).collect()
    };
    json!({"missing": list(missing), "shared": list(shared), "extra": list(extra)})
}
