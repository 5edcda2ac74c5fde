"""Who the API server takes us for."""

from typing import Final

from upkeep.cluster.client import Client

_REVIEW: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def current_user(client: Client) -> str:
    """The name that the API server knows the user of the kubeconfig by.

    Raises:
        ApiError: it does not answer, or is older than Kubernetes 1.28.
    """
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    review = await client.request("POST", _REVIEW, body=body)
    user: str = review["status"]["userInfo"]["username"]
    return user
