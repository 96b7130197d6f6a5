//! The metadata that AWS Backup takes for each kind of resource.

/// The keys of a restore, for one kind of resource. AWS takes them in any case.
#[derive(Debug)]
pub(super) struct ResourceKind {
    pub(super) name: &'static str,
    /// The keys that name the new resource; set by the request.
    pub(super) target: &'static [&'static str],
    pub(super) keys: &'static [&'static str],
    /// Keys that AWS returns for information, and does not accept.
    pub(super) informs: &'static [&'static str],
    /// Names that are valid in one region only.
    pub(super) regional: &'static [&'static str],
    /// `true` or `false`.
    pub(super) switches: &'static [&'static str],
    /// Lists, which AWS takes as JSON in a string.
    pub(super) lists: &'static [&'static str],
}

const RDS: ResourceKind = ResourceKind {
    name: "RDS",
    target: &["DBInstanceIdentifier"],
    keys: &[
        "AllocatedStorage",
        "AutoMinorVersionUpgrade",
        "AvailabilityZone",
        "BackupRetentionPeriod",
        "CACertificateIdentifier",
        "CopyTagsToSnapshot",
        "CustomIamInstanceProfile",
        "DBInstanceClass",
        "DBInstanceIdentifier",
        "DBName",
        "DBParameterGroupName",
        "DBSubnetGroupName",
        "DedicatedLogVolume",
        "DeletionProtection",
        "Domain",
        "DomainIAMRoleName",
        "EnableCloudwatchLogsExports",
        "EnableIAMDatabaseAuthentication",
        "Engine",
        "EngineLifecycleSupport",
        "Iops",
        "LicenseModel",
        "MultiAZ",
        "NetworkType",
        "OptionGroupName",
        "Port",
        "PreferredBackupWindow",
        "ProcessorFeatures",
        "PubliclyAccessible",
        "RestoreTime",
        "StorageThroughput",
        "StorageType",
        "TdeCredentialArn",
        "TdeCredentialPassword",
        "UseDefaultProcessorFeatures",
        "UseLatestRestorableTime",
        "VpcSecurityGroupIds",
    ],
    informs: &["DBSnapshotIdentifier", "EngineVersion", "KmsKeyId", "Encrypted", "vpcId"],
    regional: &[
        "AvailabilityZone",
        "CustomIamInstanceProfile",
        "DBParameterGroupName",
        "DBSubnetGroupName",
        "Domain",
        "OptionGroupName",
        "TdeCredentialArn",
        "VpcSecurityGroupIds",
    ],
    switches: &[
        "AutoMinorVersionUpgrade",
        "CopyTagsToSnapshot",
        "DedicatedLogVolume",
        "DeletionProtection",
        "EnableIAMDatabaseAuthentication",
        "MultiAZ",
        "PubliclyAccessible",
        "UseDefaultProcessorFeatures",
        "UseLatestRestorableTime",
    ],
    lists: &["EnableCloudwatchLogsExports", "ProcessorFeatures", "VpcSecurityGroupIds"],
};

const AURORA: ResourceKind = ResourceKind {
    name: "Aurora",
    target: &["DBClusterIdentifier"],
    keys: &[
        "AvailabilityZones",
        "BacktrackWindow",
        "CopyTagsToSnapshot",
        "DBClusterIdentifier",
        "DBClusterParameterGroupName",
        "DBSubnetGroupName",
        "DatabaseName",
        "DeletionProtection",
        "Domain",
        "DomainIAMRoleName",
        "EnableCloudwatchLogsExports",
        "EnableIAMDatabaseAuthentication",
        "Engine",
        "EngineMode",
        "EngineVersion",
        "KmsKeyId",
        "OptionGroupName",
        "Port",
        "RestoreTime",
        "ScalingConfiguration",
        "StorageType",
        "UseLatestRestorableTime",
        "VpcSecurityGroupIds",
    ],
    informs: &["SnapshotIdentifier", "DBClusterSnapshotIdentifier", "Encrypted", "vpcId"],
    regional: &[
        "AvailabilityZones",
        "DBClusterParameterGroupName",
        "DBSubnetGroupName",
        "Domain",
        "KmsKeyId",
        "OptionGroupName",
        "VpcSecurityGroupIds",
    ],
    switches: &[
        "CopyTagsToSnapshot",
        "DeletionProtection",
        "EnableIAMDatabaseAuthentication",
        "UseLatestRestorableTime",
    ],
    lists: &["AvailabilityZones", "EnableCloudwatchLogsExports", "VpcSecurityGroupIds"],
};

const EFS: ResourceKind = ResourceKind {
    name: "EFS",
    target: &["newFileSystem", "file-system-id"],
    keys: &[
        "CreationToken",
        "Encrypted",
        "ItemsToRestore",
        "KmsKeyId",
        "PerformanceMode",
        "availabilityZoneName",
        "file-system-id",
        "newFileSystem",
        "singleAzFilesystem",
    ],
    informs: &[],
    regional: &["KmsKeyId", "availabilityZoneName", "file-system-id"],
    switches: &["Encrypted", "newFileSystem", "singleAzFilesystem"],
    lists: &["ItemsToRestore"],
};

const S3: ResourceKind = ResourceKind {
    name: "S3",
    target: &["DestinationBucketName"],
    keys: &[
        "DestinationBucketName",
        "EncryptionType",
        "ItemsToRestore",
        "KMSKey",
        "NewBucket",
        "RestoreACLs",
        "RestoreLatestVersionsUpTo",
        "RestoreTime",
    ],
    informs: &[],
    regional: &["KMSKey"],
    switches: &["NewBucket", "RestoreACLs"],
    lists: &["ItemsToRestore"],
};

const DYNAMODB: ResourceKind = ResourceKind {
    name: "DynamoDB",
    target: &["targetTableName"],
    keys: &["encryptionType", "kmsMasterKeyArn", "targetTableName"],
    informs: &["originalTableName"],
    regional: &["kmsMasterKeyArn"],
    switches: &[],
    lists: &[],
};

/// The point in time to which a continuous recovery point is restored.
pub(super) const TIME: &str = "RestoreTime";
/// The latest restorable time.
pub(super) const LATEST: &str = "UseLatestRestorableTime";

impl ResourceKind {
    /// Returns whether AWS requires the point in time of a continuous one; for a bucket it defaults to the
    /// latest.
    pub(super) fn needs_moment(&self) -> bool {
        self.key(LATEST).is_some()
    }

    /// Finds a kind by AWS Backup's resource type, in any case.
    pub(super) fn find(resource_type: &str) -> Option<&'static Self> {
        const KINDS: [&ResourceKind; 5] = [&RDS, &AURORA, &EFS, &S3, &DYNAMODB];
        KINDS.into_iter().find(|kind| kind.name.eq_ignore_ascii_case(resource_type))
    }

    /// Returns a key as AWS writes it.
    pub(super) fn key(&self, word: &str) -> Option<&'static str> {
        find(self.keys, word)
    }

    pub(super) fn only_informs(&self, word: &str) -> bool {
        word.starts_with("InformationalOnly:")
            || word.starts_with("aws:backup:")
            || find(self.informs, word).is_some()
    }
}

pub(super) fn find(words: &'static [&'static str], word: &str) -> Option<&'static str> {
    words.iter().find(|known| known.eq_ignore_ascii_case(word)).copied()
}
