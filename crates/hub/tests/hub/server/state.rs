//! What the Hub answers, by what it holds.

use super::*;

impl State {
    pub(super) fn fault(&mut self, request: &Request) -> Option<Fault> {
        let found = self.faults.iter_mut().find(|(method, part, _, times)| {
            *times > 0 && *method == request.method && request.path.contains(part.as_str())
        });
        found.map(|(_, _, fault, times)| {
            *times -= 1;
            fault.clone()
        })
    }

    pub(super) fn redirect(&self, request: &Request, segments: &[&str]) -> Option<Answer> {
        let at = if segments.first() == Some(&"api") { 2 } else { 0 };
        let id = segments.get(at..at + 2)?.join("/");
        let new = self.moved.get(&id)?;
        let location = request.path.replacen(&id, new, 1);
        Some(Answer { status: 307, headers: vec![("Location".into(), location)], body: Vec::new() })
    }

    pub(super) fn commit(&mut self, id: &str, branch: &str, changes: BTreeMap<String, Content>) -> String {
        self.commits += 1;
        let commit = format!("{:040x}", self.commits);
        for content in changes.values().filter(|content| content.large) {
            self.objects.insert(sha256(&content.bytes), content.bytes.clone());
        }
        let repository = self.repositories.entry(id.to_owned()).or_default();
        let before = repository.branches.get(branch).map(|parent| repository.commits[parent].clone());
        let mut files = before.unwrap_or_default();
        files.extend(changes);
        repository.commits.insert(commit.clone(), files);
        repository.branches.insert(branch.to_owned(), commit.clone());
        commit
    }

    /// A model's commit and files, or the right error.
    pub(super) fn find(
        &self,
        owner: &str,
        name: &str,
        revision: &str,
        token: Option<&str>,
    ) -> Result<(String, &BTreeMap<String, Content>), Answer> {
        let missing = || match token {
            None => error(401, "RepoNotFound", "Invalid username or password."),
            Some(_) => error(404, "RepoNotFound", "Repository not found"),
        };
        let repository = self.repositories.get(&format!("{owner}/{name}")).ok_or_else(missing)?;
        if repository.private && token.is_none() {
            return Err(missing());
        }
        let commit = repository.branches.get(revision).map_or(revision, String::as_str);
        let files = repository.commits.get(commit);
        let files = files.ok_or_else(|| error(404, "RevisionNotFound", "Invalid rev id"))?;
        Ok((commit.to_owned(), files))
    }

    pub(super) fn info(&self, owner: &str, name: &str, revision: &str, token: Option<&str>) -> Answer {
        let (commit, files) = match self.find(owner, name, revision, token) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        let id = format!("{owner}/{name}");
        let siblings: Vec<Value> = files.keys().map(|path| json!({ "rfilename": path })).collect();
        let private = self.repositories[&id].private;
        ok(&json!({ "_id": "1", "id": id, "modelId": id, "sha": commit, "private": private, "tags": [],
                    "downloads": 0, "likes": 0, "siblings": siblings }))
    }

    pub(super) fn tree(&self, owner: &str, name: &str, revision: &str, token: Option<&str>) -> Answer {
        let (_, files) = match self.find(owner, name, revision, token) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        let entry = |(path, content): (&String, &Content)| {
            let size = content.bytes.len();
            let mut entry = json!({ "type": "file", "path": path, "size": size, "oid": git(&content.bytes) });
            if content.large {
                entry["lfs"] = json!({ "oid": sha256(&content.bytes), "size": size, "pointerSize": 134 });
            }
            entry
        };
        ok(&Value::Array(files.iter().map(entry).collect()))
    }

    #[expect(clippy::too_many_arguments, reason = "all parts of one address")]
    pub(super) fn resolve(
        &self,
        owner: &str,
        name: &str,
        revision: &str,
        file: &str,
        token: Option<&str>,
        request: &Request,
        storage: &str,
    ) -> Answer {
        let (commit, files) = match self.find(owner, name, revision, token) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        let header = |name: &str, value: String| (name.to_owned(), value);
        let Some(content) = files.get(file) else {
            let mut answer = error(404, "EntryNotFound", "Entry not found");
            answer.headers.push(header("X-Repo-Commit", commit));
            return answer;
        };
        let mut headers = vec![header("X-Repo-Commit", commit)];
        if !content.large {
            headers.push(header("ETag", format!("\"{}\"", git(&content.bytes))));
            return self.body(&content.bytes, headers, request);
        }
        let oid = sha256(&content.bytes);
        headers.push(header("X-Linked-ETag", format!("\"{oid}\"")));
        headers.push(header("X-Linked-Size", content.bytes.len().to_string()));
        headers.push(header("Location", format!("{storage}/objects/{oid}?signature=sesame")));
        Answer { status: 302, headers, body: b"Found. Redirecting".to_vec() }
    }

    pub(super) fn body(&self, bytes: &[u8], mut headers: Vec<(String, String)>, request: &Request) -> Answer {
        let range = request.headers.get("range").filter(|_| self.ranges);
        let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let size = bytes.len();
        match start {
            Some(start) if start >= size => error(416, "", "Range Not Satisfiable"),
            Some(start) => {
                headers.push(("Content-Range".into(), format!("bytes {start}-{}/{size}", size - 1)));
                Answer { status: 206, headers, body: bytes[start..].to_vec() }
            }
            None => Answer { status: 200, headers, body: bytes.to_vec() },
        }
    }

    pub(super) fn create(&mut self, request: &Request, endpoint: &str) -> Answer {
        let body = request.json();
        let text = |key: &str| body[key].as_str().unwrap_or("tester").to_owned();
        let id = format!("{}/{}", text("organization"), text("name"));
        if self.repositories.contains_key(&id) {
            return error(409, "", "You already created this model repo");
        }
        let first = Content { bytes: Arc::new(b"*.safetensors filter=lfs\n".to_vec()), large: false };
        self.commit(&id, "main", BTreeMap::from([(".gitattributes".to_owned(), first)]));
        self.repositories.get_mut(&id).unwrap().private = body["private"].as_bool().unwrap_or(false);
        ok(&json!({ "url": format!("{endpoint}/{id}"), "name": id, "id": "1" }))
    }

    pub(super) fn branch(&mut self, owner: &str, name: &str, branch: &str) -> Answer {
        let repository = self.repositories.get_mut(&format!("{owner}/{name}")).unwrap();
        let main = repository.branches["main"].clone();
        match repository.branches.insert(branch.to_owned(), main) {
            None => ok(&json!({})),
            Some(_) => error(409, "", "Reference already exists"),
        }
    }

    pub(super) fn preupload(&self, owner: &str, name: &str, request: &Request) -> Answer {
        if !self.repositories.contains_key(&format!("{owner}/{name}")) {
            return error(404, "RepoNotFound", "Repository not found");
        }
        let mode = |file: &Value| {
            let path = file["path"].as_str().unwrap_or_default();
            let large = path.ends_with(".safetensors");
            json!({ "path": path, "uploadMode": if large { "lfs" } else { "regular" }, "shouldIgnore": path == "ignored" })
        };
        let files = request.json()["files"].as_array().unwrap().iter().map(mode).collect();
        ok(&json!({ "files": Value::Array(files) }))
    }

    pub(super) fn batch(&self, request: &Request, endpoint: &str, storage: &str) -> Answer {
        let object = |object: &Value| {
            let (oid, size) = (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap());
            if self.objects.contains_key(oid) {
                return json!({ "oid": oid, "size": size });
            }
            let verify = json!({ "href": format!("{endpoint}/api/verify/{oid}"), "header": {} });
            let upload = match self.part {
                None => json!({ "href": format!("{storage}/objects/{oid}?signature=sesame") }),
                Some(part) => {
                    let mut header = json!({ "chunk_size": part.to_string() });
                    for number in 1..=(size as usize).div_ceil(part) {
                        let address = format!("{storage}/parts/{oid}/{number}?signature=sesame");
                        header[format!("{number:05}")] = address.into();
                    }
                    json!({ "href": format!("{endpoint}/api/complete/{oid}"), "header": header })
                }
            };
            json!({ "oid": oid, "size": size, "actions": { "upload": upload, "verify": verify } })
        };
        let objects = request.json()["objects"].as_array().unwrap().iter().map(object).collect();
        let transfer = if self.part.is_some() { "multipart" } else { "basic" };
        ok(&json!({ "transfer": transfer, "objects": Value::Array(objects) }))
    }

    pub(super) fn storage(&mut self, request: &Request, segments: &[&str]) -> Answer {
        if request.headers.contains_key("authorization") {
            return error(400, "", "Only one auth mechanism allowed");
        }
        if !request.path.ends_with("?signature=sesame") {
            return error(403, "", "no signature");
        }
        match (request.method.as_str(), segments) {
            ("GET", ["objects", oid]) => match self.objects.get(*oid).cloned() {
                Some(bytes) => self.body(&bytes, Vec::new(), request),
                None => error(404, "", "NoSuchKey"),
            },
            ("PUT", _) if !request.headers.contains_key("content-length") => {
                error(411, "", "You must provide the Content-Length HTTP header")
            }
            ("PUT", ["objects", oid]) if sha256(&request.body) == *oid => {
                self.objects.insert((*oid).to_owned(), Arc::new(request.body.clone()));
                ok(&json!({}))
            }
            ("PUT", ["parts", oid, number]) => {
                let number: usize = number.parse().unwrap();
                self.parts.insert(((*oid).to_owned(), number), request.body.clone());
                let headers = vec![("ETag".to_owned(), format!("\"part{number}\""))];
                Answer { status: 200, headers, body: Vec::new() }
            }
            _ => error(400, "", "XAmzContentSHA256Mismatch"),
        }
    }

    pub(super) fn complete(&mut self, oid: &str, request: &Request) -> Answer {
        let body = request.json();
        let tags =
            body["parts"].as_array().unwrap().iter().map(|part| part["etag"].as_str().unwrap().to_owned());
        let numbers = 1..=tags.len();
        let right = tags.eq(numbers.clone().map(|number| format!("\"part{number}\"")));
        let parts = numbers.filter_map(|number| self.parts.get(&(oid.to_owned(), number)));
        let whole: Vec<u8> = parts.flatten().copied().collect();
        if !right || sha256(&whole) != oid {
            return error(400, "", "the parts aren't the file");
        }
        self.objects.insert(oid.to_owned(), Arc::new(whole));
        ok(&json!({}))
    }

    pub(super) fn verify(&self, oid: &str) -> Answer {
        if self.objects.contains_key(oid) { ok(&json!({})) } else { error(404, "", "not there") }
    }

    pub(super) fn receive(&mut self, owner: &str, name: &str, branch: &str, request: &Request) -> Answer {
        let id = format!("{owner}/{name}");
        let head = self.repositories[&id].branches.get(branch).cloned();
        let mut changes = BTreeMap::new();
        for line in String::from_utf8_lossy(&request.body).lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let value = &line["value"];
            let path = value["path"].as_str().unwrap_or_default().to_owned();
            match line["key"].as_str().unwrap() {
                "header" => {
                    let parent = value["parentCommit"].as_str();
                    if parent.is_some() && parent != head.as_deref() {
                        return error(412, "", "A commit has happened since. Please refresh and try again.");
                    }
                }
                "file" => {
                    let bytes = Arc::new(BASE64.decode(value["content"].as_str().unwrap()).unwrap());
                    changes.insert(path, Content { bytes, large: false });
                }
                "lfsFile" => {
                    let Some(bytes) = self.objects.get(value["oid"].as_str().unwrap()) else {
                        return error(400, "", "LFS pointer pointed to a file that does not exist");
                    };
                    changes.insert(path, Content { bytes: bytes.clone(), large: true });
                }
                other => return error(400, "", other),
            }
        }
        let commit = self.commit(&id, branch, changes);
        ok(
            &json!({ "success": true, "commitOid": commit, "commitUrl": format!("/{id}/commit/{commit}"), "hookOutput": "" }),
        )
    }
}

pub(super) fn ok(body: &Value) -> Answer {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    Answer { status: 200, headers, body: body.to_string().into_bytes() }
}

pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    if !code.is_empty() {
        headers.push(("X-Error-Code".to_owned(), code.to_owned()));
        headers.push(("X-Error-Message".to_owned(), message.to_owned()));
    }
    Answer { status, headers, body: json!({ "error": message }).to_string().into_bytes() }
}
