BEGIN TRANSACTION;
CREATE TABLE annotations (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        sample_id TEXT NOT NULL REFERENCES samples (id),
        batch TEXT NOT NULL REFERENCES batches (name), annotator TEXT NOT NULL,
        answer TEXT NOT NULL, labels JSON NOT NULL, why TEXT, seconds FLOAT,
        origin TEXT NOT NULL, at TEXT NOT NULL);
INSERT INTO "annotations" VALUES(1,'ef2cc9e8d9aa1d16','v0','oracle','empty','[]',NULL,NULL,'oracle','2026-11-29T00:30:11.269+00:00');
INSERT INTO "annotations" VALUES(2,'2cfb3cfb02263003','v0','oracle','complete','[[1, 9.0, 7.0, 14.0, 14.0, 0], [1, 50.0, 9.0, 17.0, 17.0, 0]]',NULL,NULL,'oracle','2026-11-29T00:30:11.269+00:00');
INSERT INTO "annotations" VALUES(3,'02f03a9ab92607d1','v0','oracle','complete','[[1, 8.0, 36.0, 16.0, 16.0, 0]]',NULL,NULL,'oracle','2026-11-29T00:30:11.269+00:00');
CREATE TABLE audit (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL,
        what TEXT NOT NULL, target TEXT NOT NULL, details JSON NOT NULL);
INSERT INTO "audit" VALUES(1,'2026-11-29T00:30:08.633+00:00','tester','ingest','/tmp/tmpifzl2zco/data/images','{"images": 24, "labeled": 24}');
INSERT INTO "audit" VALUES(2,'2026-11-29T00:30:09.386+00:00','tester','split','ae0f03b33320ed29ff4e04b4123e66e29860b5b78ddcd99347e80f3e105d9f2a','{"pool": 14, "test": 4, "val": 4, "golden": 2}');
INSERT INTO "audit" VALUES(3,'2026-11-29T00:30:09.740+00:00','tester','embed','pixels-v1','{"images": 24}');
INSERT INTO "audit" VALUES(4,'2026-11-29T00:30:10.964+00:00','tester','score','pixels-v1','{"candidates": 14, "occupied": 0}');
INSERT INTO "audit" VALUES(5,'2026-11-29T00:30:11.246+00:00','tester','select','v0','{"size": 2, "seed": 0, "by_source": {"coverage": 2}}');
INSERT INTO "audit" VALUES(6,'2026-11-29T00:30:11.272+00:00','tester','annotate oracle','v0','{"answers": 3, "by": ["oracle"]}');
INSERT INTO "audit" VALUES(7,'2026-11-29T00:30:11.324+00:00','tester','annotate close','v0','{"annotated": 2, "pending": 0, "skipped": 0}');
INSERT INTO "audit" VALUES(8,'2026-11-29T00:30:12.549+00:00','tester','golden check','v0','{"verdict": "insufficient", "reason": "at least 10 images with reference boxes are needed, 0 were answered"}');
INSERT INTO "audit" VALUES(9,'2026-11-29T00:30:13.174+00:00','tester','train','v0','{"model": "v0", "trainer": "classical", "images": 2, "empty_images": 0, "boxes": 3, "boxes_by_class": {"square": 0, "disc": 3}, "seed": 0, "seconds": 0.494}');
INSERT INTO "audit" VALUES(10,'2026-11-29T00:30:13.295+00:00','tester','evaluate','v0','{"failures": 0, "images": 4}');
INSERT INTO "audit" VALUES(11,'2026-11-29T00:30:13.331+00:00','tester','decide','v0','{"verdict": "continue", "reason": "continue: AP50 0.332 on gauge, no target set; 2 images labelled; 12 in the pool", "numbers": {"metric_name": "AP50", "metric": 0.3316831683168317, "target": null, "images": 2, "budget_images": null, "boxes": 3, "budget_boxes": null, "minutes": 0.6833333333333333, "budget_minutes": null, "pool_left": 12, "golden": "insufficient"}}');
INSERT INTO "audit" VALUES(12,'2026-11-29T00:30:13.466+00:00','tester','score','pixels-v1','{"candidates": 12, "occupied": 2}');
INSERT INTO "audit" VALUES(13,'2026-11-29T00:30:13.572+00:00','tester','select','v1','{"size": 2, "seed": 0, "by_source": {"coverage": 2}}');
CREATE TABLE batches (
        name TEXT PRIMARY KEY, kind TEXT NOT NULL, number INTEGER NOT NULL,
        asked INTEGER NOT NULL, seed INTEGER NOT NULL, created_at TEXT NOT NULL,
        closed_at TEXT, report JSON NOT NULL, UNIQUE (kind, number));
INSERT INTO "batches" VALUES('v0','select',0,3,0,'2026-11-29T00:30:11.246+00:00','2026-11-29T00:30:11.316+00:00','{"quotas": {"coverage": 2}, "shortfalls": [], "notes": ["coverage scores of 2026-11-29T00:30:10.964+00:00, with 0 samples already taken", "groups stay whole: the batch has 2 of 3 images"], "summary": {"pool_distance_after": 0.275712}, "mix": {"coverage": 1.0}, "by_source": {"coverage": 2}, "blind_golden": 1}');
INSERT INTO "batches" VALUES('v1','select',1,2,0,'2026-11-29T00:30:13.572+00:00',NULL,'{"quotas": {"coverage": 0, "targeted": 2}, "shortfalls": [{"source": "targeted", "asked": 2, "got": 0, "refilled_by": "coverage", "why": "there are no failures to look for"}], "notes": ["coverage scores of 2026-11-29T00:30:13.466+00:00, with 2 samples already taken", "coverage only: there are no failures to look for"], "summary": {"pool_distance_before": 0.321664, "pool_distance_after": 0.205147, "batch_distance_before": 0.405872}, "mix": {"coverage": 0.3, "targeted": 0.7}, "by_source": {"coverage": 2}, "blind_golden": 1}');
CREATE TABLE classes (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rules JSON NOT NULL);
INSERT INTO "classes" VALUES(0,'square','{}');
INSERT INTO "classes" VALUES(1,'disc','{}');
CREATE TABLE failures (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, evaluation INTEGER NOT NULL,
        sample_id TEXT NOT NULL, type TEXT NOT NULL, class_id INTEGER NOT NULL,
        x FLOAT NOT NULL, y FLOAT NOT NULL, w FLOAT NOT NULL, h FLOAT NOT NULL,
        score FLOAT, truth_class_id INTEGER, iou FLOAT NOT NULL, price FLOAT NOT NULL);
CREATE TABLE image_results (
        evaluation INTEGER NOT NULL, sample_id TEXT NOT NULL, tp INTEGER NOT NULL,
        fp INTEGER NOT NULL, fn INTEGER NOT NULL, PRIMARY KEY (evaluation, sample_id));
INSERT INTO "image_results" VALUES(5,'231f708337efbabe',1,0,1);
INSERT INTO "image_results" VALUES(5,'84086af2defadd6a',1,0,0);
INSERT INTO "image_results" VALUES(5,'852cf201f41c192d',0,0,2);
INSERT INTO "image_results" VALUES(5,'8a00e056bc7abda1',0,0,0);
CREATE TABLE iterations (
        number INTEGER PRIMARY KEY, batch TEXT NOT NULL UNIQUE REFERENCES batches (name),
        opened_at TEXT NOT NULL, settings JSON NOT NULL);
INSERT INTO "iterations" VALUES(0,'v0','2026-11-29T00:30:11.246+00:00','{"images": {"root": "/tmp/tmpifzl2zco/data/images", "skip_bad": false}, "store": {"url": "sqlite:///annoloop.db"}, "split": {"test": 0.15, "val": 0.15, "golden": "auto", "group": "folder", "near_duplicates": true, "seed": 0}, "embed": {"embedder": "pixels", "options": {}, "chunk": 256}, "coverage": {"draws": "auto", "neighbours": 1000}, "select": {"mix": {"coverage": 0.3, "targeted": 0.7}, "first_size": 30, "first_share": 0.25, "share": 0.2, "minimum": 10, "cluster_cosine": 0.5, "seed": 0}, "train": {"trainer": "classical", "options": {}, "seed": 0}, "evaluate": {"iou": 0.5, "min_score": "auto"}, "golden": {"share": 0.1, "minimum": 10, "rotation": 0.2, "looks": 20, "tolerance": 0.05}, "stop": {"metric": "AP50", "target": null, "budget_images": null, "budget_boxes": null, "budget_minutes": null}, "cost": {"seconds_per_image": 10.0, "seconds_per_box": 7.0}}');
INSERT INTO "iterations" VALUES(1,'v1','2026-11-29T00:30:13.572+00:00','{"images": {"root": "/tmp/tmpifzl2zco/data/images", "skip_bad": false}, "store": {"url": "sqlite:///annoloop.db"}, "split": {"test": 0.15, "val": 0.15, "golden": "auto", "group": "folder", "near_duplicates": true, "seed": 0}, "embed": {"embedder": "pixels", "options": {}, "chunk": 256}, "coverage": {"draws": "auto", "neighbours": 1000}, "select": {"mix": {"coverage": 0.3, "targeted": 0.7}, "first_size": 30, "first_share": 0.25, "share": 0.2, "minimum": 10, "cluster_cosine": 0.5, "seed": 0}, "train": {"trainer": "classical", "options": {}, "seed": 0}, "evaluate": {"iou": 0.5, "min_score": "auto"}, "golden": {"share": 0.1, "minimum": 10, "rotation": 0.2, "looks": 20, "tolerance": 0.05}, "stop": {"metric": "AP50", "target": null, "budget_images": null, "budget_boxes": null, "budget_minutes": null}, "cost": {"seconds_per_image": 10.0, "seconds_per_box": 7.0}}');
CREATE TABLE looks (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, iteration INTEGER,
        who TEXT NOT NULL, at TEXT NOT NULL, record JSON NOT NULL);
CREATE TABLE migrations (name TEXT PRIMARY KEY, at TEXT NOT NULL);
INSERT INTO "migrations" VALUES('0001_first_schema','2026-11-29T00:30:08.385+00:00');
CREATE TABLE near_duplicates (
        first_id TEXT NOT NULL, second_id TEXT NOT NULL, binding BOOLEAN NOT NULL,
        PRIMARY KEY (first_id, second_id), CHECK (first_id < second_id));
CREATE TABLE picks (
        batch TEXT NOT NULL REFERENCES batches (name),
        sample_id TEXT NOT NULL REFERENCES samples (id), position INTEGER NOT NULL,
        blind BOOLEAN NOT NULL, source TEXT NOT NULL, rank INTEGER NOT NULL,
        score FLOAT NOT NULL, reason TEXT NOT NULL, details JSON NOT NULL,
        PRIMARY KEY (batch, sample_id));
INSERT INTO "picks" VALUES('v0','ef2cc9e8d9aa1d16',0,1,'golden',1,0.0,'blind golden: checks the labels, not the model','{}');
INSERT INTO "picks" VALUES('v0','2cfb3cfb02263003',1,0,'coverage',1,1.0,'coverage score 1.000, rank 1 of 14 unlabeled','{"pool_rank": 1, "candidates": 14}');
INSERT INTO "picks" VALUES('v0','02f03a9ab92607d1',2,0,'coverage',1,1.0,'same group as scene_001/frame_1.png','{"brought_by": "2cfb3cfb02263003"}');
INSERT INTO "picks" VALUES('v1','edd883f93f9cb9e2',0,0,'coverage',1,1.0,'coverage score 1.000, rank 1 of 12 unlabeled','{"pool_rank": 1, "candidates": 12}');
INSERT INTO "picks" VALUES('v1','ef2cc9e8d9aa1d16',1,1,'golden',1,0.0,'blind golden: checks the labels, not the model','{}');
INSERT INTO "picks" VALUES('v1','da239a9468e313a1',2,0,'coverage',1,1.0,'same group as scene_011/frame_0.png','{"brought_by": "edd883f93f9cb9e2"}');
CREATE TABLE reference_labels (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, sample_id TEXT NOT NULL REFERENCES samples (id),
        version INTEGER NOT NULL, labels JSON NOT NULL, source TEXT NOT NULL,
        who TEXT NOT NULL, at TEXT NOT NULL, UNIQUE (sample_id, version));
INSERT INTO "reference_labels" VALUES(1,'c0254d3f28189025',1,'[[1, 13.0, 25.0, 13.0, 13.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(2,'d005122b7f044037',1,'[[0, 7.0, 13.0, 15.0, 15.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(3,'02f03a9ab92607d1',1,'[[1, 8.0, 36.0, 16.0, 16.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(4,'2cfb3cfb02263003',1,'[[1, 9.0, 7.0, 14.0, 14.0, 0], [1, 50.0, 9.0, 17.0, 17.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(5,'efdb77a9b8bf28de',1,'[[0, 4.0, 6.0, 18.0, 18.0, 0], [1, 43.0, 14.0, 12.0, 12.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(6,'072771b75cd9f5ae',1,'[[0, 11.0, 7.0, 12.0, 12.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(7,'ef2cc9e8d9aa1d16',1,'[]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(8,'2eb934880b747e29',1,'[[1, 16.0, 41.0, 15.0, 15.0, 0], [1, 48.0, 41.0, 14.0, 14.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(9,'84086af2defadd6a',1,'[[1, 2.0, 17.0, 17.0, 17.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(10,'8a00e056bc7abda1',1,'[]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(11,'8211cbaa82ffe501',1,'[[0, 12.0, 22.0, 13.0, 13.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(12,'d00d7fe4da026cb9',1,'[]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(13,'1db80922875a1e2a',1,'[[1, 13.0, 16.0, 19.0, 19.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(14,'0dad56ba29dab585',1,'[[0, 5.0, 2.0, 13.0, 13.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(15,'fa20225e6b730729',1,'[[1, 9.0, 25.0, 15.0, 15.0, 0], [0, 40.0, 33.0, 17.0, 17.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(16,'cf40cd2528f01dd5',1,'[[0, 17.0, 33.0, 19.0, 19.0, 0], [1, 54.0, 39.0, 15.0, 15.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(17,'871a2ff0aa7d1b9c',1,'[]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(18,'8ce7d2574cffb0ab',1,'[[1, 15.0, 33.0, 16.0, 16.0, 0], [0, 47.0, 3.0, 13.0, 13.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(19,'852cf201f41c192d',1,'[[1, 9.0, 8.0, 13.0, 13.0, 0], [0, 46.0, 11.0, 15.0, 15.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(20,'231f708337efbabe',1,'[[1, 15.0, 38.0, 13.0, 13.0, 0], [1, 43.0, 9.0, 17.0, 17.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(21,'ed0bf227e61ce5d2',1,'[[0, 15.0, 38.0, 13.0, 13.0, 0], [1, 54.0, 23.0, 15.0, 15.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(22,'0812ceb43d892523',1,'[[1, 3.0, 22.0, 15.0, 15.0, 0], [1, 55.0, 29.0, 17.0, 17.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(23,'edd883f93f9cb9e2',1,'[[0, 9.0, 8.0, 16.0, 16.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
INSERT INTO "reference_labels" VALUES(24,'da239a9468e313a1',1,'[[1, 15.0, 33.0, 18.0, 18.0, 0]]','labels','tester','2026-11-29T00:30:08.633+00:00');
CREATE TABLE samples (
        id TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE, uri TEXT NOT NULL,
        width INTEGER NOT NULL, height INTEGER NOT NULL, sha256 TEXT NOT NULL,
        bytes BIGINT NOT NULL, group_name TEXT, split TEXT, half TEXT,
        status TEXT NOT NULL, why TEXT, external_id TEXT, added_at TEXT NOT NULL);
INSERT INTO "samples" VALUES('c0254d3f28189025','scene_000/frame_0.png','scene_000/frame_0.png',80,64,'acf93cd43270d899a1838a4c20734887f0ec34c3133e9b14509156806e921c21',2804,'scene_000','test',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('d005122b7f044037','scene_000/frame_1.png','scene_000/frame_1.png',80,64,'72f4a804700f94a17c64026ed4c862d349864ba9d73b5731bcd6498dea58c5e2',2767,'scene_000','test',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('02f03a9ab92607d1','scene_001/frame_0.png','scene_001/frame_0.png',80,64,'7d0fdb6efdc03d1f91411c3dc22675031340c1a9da283feb0006731dfed996a9',2910,'scene_001','pool',NULL,'annotated','',NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('2cfb3cfb02263003','scene_001/frame_1.png','scene_001/frame_1.png',80,64,'27882dbd1817d2966185d63f4ef9339e63f96ffa2b28ba188f84068ea717016b',3045,'scene_001','pool',NULL,'annotated','',NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('efdb77a9b8bf28de','scene_002/frame_0.png','scene_002/frame_0.png',80,64,'b84969e7db0d753c284a70e34c6f40e52bb90d6ce0927e832c6511c5acebb2c6',2663,'scene_002','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('072771b75cd9f5ae','scene_002/frame_1.png','scene_002/frame_1.png',80,64,'3e23f9631c7789ecde1a212cfe6c51f205297c7a50c50a1046a239c7824a081d',2714,'scene_002','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('ef2cc9e8d9aa1d16','scene_003/frame_0.png','scene_003/frame_0.png',80,64,'2295d94812fabe0850dd5f277dfa673bb3a0e275608dab51a94792bb70561658',2829,'scene_003','golden',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('2eb934880b747e29','scene_003/frame_1.png','scene_003/frame_1.png',80,64,'054f35f96e48fa941da2e1c99f7401146a64c2609759121afab922d1f6fd9f9d',2920,'scene_003','golden',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('84086af2defadd6a','scene_004/frame_0.png','scene_004/frame_0.png',80,64,'b97f0eecf6ca4d95a84f91be712621cb8b4ac4195e1f628a08be8990b7a957a6',2719,'scene_004','val','mine','unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('8a00e056bc7abda1','scene_004/frame_1.png','scene_004/frame_1.png',80,64,'2975dadf3204a002134d74cb80d03e1e778dba5424cee2f2c6478321074d44ab',2696,'scene_004','val','mine','unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('8211cbaa82ffe501','scene_005/frame_0.png','scene_005/frame_0.png',80,64,'9da4f35db2e7e638aecce58b7cfb9cf2524724c7255de41a74a964f6f032a6eb',2853,'scene_005','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('d00d7fe4da026cb9','scene_005/frame_1.png','scene_005/frame_1.png',80,64,'cea97dd7d76495aba14eb4d0f50c62f5b0a8f3e30509810e5cc69aba1319c633',2879,'scene_005','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('1db80922875a1e2a','scene_006/frame_0.png','scene_006/frame_0.png',80,64,'112e10fff09d825b87cb8f863bfd0dbfd8a77c72fd595996c00e0154c253d259',2632,'scene_006','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('0dad56ba29dab585','scene_006/frame_1.png','scene_006/frame_1.png',80,64,'56ae77344d09167974ad5c4a47b4ea2d2d4e482b9607e356e09bf28d773b7a65',2658,'scene_006','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('fa20225e6b730729','scene_007/frame_0.png','scene_007/frame_0.png',80,64,'21b3eb9b2e88f1bc766431862df1997911421d42450ccc523ae2824967d82081',2922,'scene_007','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('cf40cd2528f01dd5','scene_007/frame_1.png','scene_007/frame_1.png',80,64,'d2c2b8ee6b2a1734e0aeb9450f990ced7cfe4f6fa58608b0b3845727a8e3c1fa',3069,'scene_007','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('871a2ff0aa7d1b9c','scene_008/frame_0.png','scene_008/frame_0.png',80,64,'6bee4eaacbd61edea370157e334ab98202c661f04cd5759254d5b3fa865782d0',2556,'scene_008','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('8ce7d2574cffb0ab','scene_008/frame_1.png','scene_008/frame_1.png',80,64,'ec8d3748fde51f153a377a0d546b922bf363b467e967d70e70eb4237dcf032fb',2617,'scene_008','pool',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('852cf201f41c192d','scene_009/frame_0.png','scene_009/frame_0.png',80,64,'a3729f13f9b14680a77b2ff08ced8bdcfe8b326976093f5c8b5fc00091ffcc70',2727,'scene_009','val','gauge','unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('231f708337efbabe','scene_009/frame_1.png','scene_009/frame_1.png',80,64,'3bf4fe74aee4274bd9d22ca0c5d943b7cd7545979b2b81b0ff71e6b949ec4318',2805,'scene_009','val','gauge','unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('ed0bf227e61ce5d2','scene_010/frame_0.png','scene_010/frame_0.png',80,64,'cf8ba68afbac048da9ca62569807c952a54867d71428fcf98aa7af9b3f0c8267',2970,'scene_010','test',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('0812ceb43d892523','scene_010/frame_1.png','scene_010/frame_1.png',80,64,'c144d1d51f3a0af33ac3042f1a8494dc922b126d69b71605432757df7da1d225',3063,'scene_010','test',NULL,'unlabeled',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('edd883f93f9cb9e2','scene_011/frame_0.png','scene_011/frame_0.png',80,64,'7bc3356456803a170894ee258ced324615c3ef6e1becd0fe52ebf0169e2e62ab',2414,'scene_011','pool',NULL,'selected',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
INSERT INTO "samples" VALUES('da239a9468e313a1','scene_011/frame_1.png','scene_011/frame_1.png',80,64,'8ff137dc5b0d188529fede98ac36eda8625be462abc6143287b24455f5ababeb',2382,'scene_011','pool',NULL,'selected',NULL,NULL,'2026-11-29T00:30:08.633+00:00');
CREATE TABLE steps (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, iteration INTEGER NOT NULL,
        step TEXT NOT NULL, at TEXT NOT NULL, who TEXT NOT NULL, record JSON NOT NULL);
INSERT INTO "steps" VALUES(1,0,'select','2026-11-29T00:30:11.246+00:00','tester','{"batch": "v0", "size": 2, "quotas": {"coverage": 2}, "shortfalls": [], "notes": ["coverage scores of 2026-11-29T00:30:10.964+00:00, with 0 samples already taken", "groups stay whole: the batch has 2 of 3 images"], "summary": {"pool_distance_after": 0.275712}, "mix": {"coverage": 1.0}, "by_source": {"coverage": 2}, "blind_golden": 1}');
INSERT INTO "steps" VALUES(2,0,'annotate','2026-11-29T00:30:11.323+00:00','tester','{"batch": "v0", "annotated": 2, "empty": 0, "pending": 0, "skipped": 0, "boxes": 3, "golden_statistics": {"samples": 2, "samples_with_labels": 0, "samples_empty": 1, "total_detections": 0, "class_counts": {"square": 0, "disc": 0}, "top_classes": {}, "mean_per_image": 0.0, "empty_share": 1.0, "median_side": null, "median_aspect": null}}');
INSERT INTO "steps" VALUES(3,0,'golden','2026-11-29T00:30:12.549+00:00','tester','{"verdict": "insufficient", "reason": "at least 10 images with reference boxes are needed, 0 were answered", "numbers": {"action": "label more golden images", "advice": "Hide more golden images in the next batches.", "look": 1, "looks": 20, "images_compared": 1, "tested": 0, "boxes": 0, "passes": 0, "errors": {"missed": {"count": 0, "rate": null, "interval": null, "p_value": null, "alpha": 0.001, "usual": null, "smallest_p": null, "changed_images": 0, "failed": false, "alarm_rate": null}, "spurious": {"count": 0, "rate": null, "interval": null, "p_value": null, "alpha": 0.0005, "usual": null, "smallest_p": null, "changed_images": 0, "failed": false, "alarm_rate": null}, "class": {"count": 0, "rate": null, "interval": null, "p_value": null, "alpha": 0.0005, "usual": null, "smallest_p": null, "changed_images": 0, "failed": false, "alarm_rate": null}, "location": {"count": 0, "rate": null, "interval": null, "p_value": null, "alpha": 0.0005, "usual": null, "smallest_p": null, "changed_images": 0, "failed": false, "alarm_rate": null}}, "features": [], "agreement": {"f1": null, "precision": null, "recall": null, "interval": null, "per_class": {}, "detection": {"f1": null, "precision": null, "recall": null, "interval": null, "reference": 0, "answers": 0}, "outcomes": {"agree": 0, "confusion": 0, "missed": 0, "spurious": 0, "duplicate": 0, "ignored": 0}, "confusions": [], "placement": {"pairs": 0, "overlap_loss": null, "low_overlap": 0, "edges": {}, "edge_intervals": {}, "log_area_ratio": null, "side_ratio": null}}, "changed": [], "images": [], "cusum": {}, "annotators": [{"annotator": "oracle", "images": 1, "boxes": 0, "errors": 0, "rate": null, "shrunk": 0.5, "interval": [0.46903226241459745, 0.5309677375854025], "probability": 1.0, "flagged": false}], "disputes": [], "notes": []}}');
INSERT INTO "steps" VALUES(4,0,'train','2026-11-29T00:30:13.174+00:00','tester','{"model": "v0", "trainer": "classical", "images": 2, "empty_images": 0, "boxes": 3, "boxes_by_class": {"square": 0, "disc": 3}, "seed": 0, "seconds": 0.494}');
INSERT INTO "steps" VALUES(5,0,'evaluate','2026-11-29T00:30:13.295+00:00','tester','{"model": "v0", "min_score": 0.7738983631134033, "gauge": {"summary": {"AP": 0.249009900990099, "AP50": 0.3316831683168317, "AP75": 0.3316831683168317, "APs": 0.249009900990099, "APm": null, "APl": null, "AR1": 0.13333333333333333, "AR10": 0.25, "AR100": 0.25, "ARs": 0.25, "ARm": null, "ARl": null}, "per_class": {"square": 0.0, "disc": 0.498019801980198}, "images": 2, "boxes": 4, "detections": 58}, "val": {"summary": {"AP": 0.27623762376237626, "AP50": 0.37623762376237624, "AP75": 0.37623762376237624, "APs": 0.27623762376237626, "APm": null, "APl": null, "AR1": 0.1875, "AR10": 0.275, "AR100": 0.275, "ARs": 0.275, "ARm": null, "ARl": null}, "per_class": {"square": 0.0, "disc": 0.5524752475247525}, "images": 4, "boxes": 5, "detections": 129}, "failures": {}, "unseen_classes": ["square"]}');
INSERT INTO "steps" VALUES(6,0,'decide','2026-11-29T00:30:13.331+00:00','tester','{"verdict": "continue", "reason": "continue: AP50 0.332 on gauge, no target set; 2 images labelled; 12 in the pool", "numbers": {"metric_name": "AP50", "metric": 0.3316831683168317, "target": null, "images": 2, "budget_images": null, "boxes": 3, "budget_boxes": null, "minutes": 0.6833333333333333, "budget_minutes": null, "pool_left": 12, "golden": "insufficient"}}');
INSERT INTO "steps" VALUES(7,1,'select','2026-11-29T00:30:13.572+00:00','tester','{"batch": "v1", "size": 2, "quotas": {"coverage": 0, "targeted": 2}, "shortfalls": [{"source": "targeted", "asked": 2, "got": 0, "refilled_by": "coverage", "why": "there are no failures to look for"}], "notes": ["coverage scores of 2026-11-29T00:30:13.466+00:00, with 2 samples already taken", "coverage only: there are no failures to look for"], "summary": {"pool_distance_before": 0.321664, "pool_distance_after": 0.205147, "batch_distance_before": 0.405872}, "mix": {"coverage": 0.3, "targeted": 0.7}, "by_source": {"coverage": 2}, "blind_golden": 1}');
CREATE INDEX samples_by_split ON samples (split, status);
CREATE INDEX samples_by_hash ON samples (sha256);
CREATE INDEX annotations_by_batch ON annotations (batch, sample_id);
CREATE INDEX annotations_by_sample ON annotations (sample_id);
CREATE INDEX steps_by_iteration ON steps (iteration, step);
CREATE INDEX failures_by_evaluation ON failures (evaluation);
CREATE TRIGGER reference_labels_no_update BEFORE UPDATE ON reference_labels BEGIN SELECT RAISE(ABORT, 'reference_labels is append-only'); END;
CREATE TRIGGER reference_labels_no_delete BEFORE DELETE ON reference_labels BEGIN SELECT RAISE(ABORT, 'reference_labels is append-only'); END;
CREATE TRIGGER picks_no_update BEFORE UPDATE ON picks BEGIN SELECT RAISE(ABORT, 'picks is append-only'); END;
CREATE TRIGGER picks_no_delete BEFORE DELETE ON picks BEGIN SELECT RAISE(ABORT, 'picks is append-only'); END;
CREATE TRIGGER annotations_no_update BEFORE UPDATE ON annotations BEGIN SELECT RAISE(ABORT, 'annotations is append-only'); END;
CREATE TRIGGER annotations_no_delete BEFORE DELETE ON annotations BEGIN SELECT RAISE(ABORT, 'annotations is append-only'); END;
CREATE TRIGGER steps_no_update BEFORE UPDATE ON steps BEGIN SELECT RAISE(ABORT, 'steps is append-only'); END;
CREATE TRIGGER steps_no_delete BEFORE DELETE ON steps BEGIN SELECT RAISE(ABORT, 'steps is append-only'); END;
CREATE TRIGGER failures_no_update BEFORE UPDATE ON failures BEGIN SELECT RAISE(ABORT, 'failures is append-only'); END;
CREATE TRIGGER failures_no_delete BEFORE DELETE ON failures BEGIN SELECT RAISE(ABORT, 'failures is append-only'); END;
CREATE TRIGGER image_results_no_update BEFORE UPDATE ON image_results BEGIN SELECT RAISE(ABORT, 'image_results is append-only'); END;
CREATE TRIGGER image_results_no_delete BEFORE DELETE ON image_results BEGIN SELECT RAISE(ABORT, 'image_results is append-only'); END;
CREATE TRIGGER looks_no_update BEFORE UPDATE ON looks BEGIN SELECT RAISE(ABORT, 'looks is append-only'); END;
CREATE TRIGGER looks_no_delete BEFORE DELETE ON looks BEGIN SELECT RAISE(ABORT, 'looks is append-only'); END;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('reference_labels',24);
INSERT INTO "sqlite_sequence" VALUES('audit',13);
INSERT INTO "sqlite_sequence" VALUES('steps',7);
INSERT INTO "sqlite_sequence" VALUES('annotations',3);
COMMIT;
