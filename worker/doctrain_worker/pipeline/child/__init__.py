"""What runs in children: the stages that meet bytes and models. Nothing here may load gRPC or a database driver."""
