{{- define "fedid.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* 52 characters leave room for the longest suffix of an object's name within 63. */ -}}
{{- define "fedid.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "fedid.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "fedid.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fedid.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fedid.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fedid.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "fedid.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "fedid.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fedid.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* The pods of hooks: other labels than the operator's, which its Deployment, Service and policies select by. */ -}}
{{- define "fedid.checkSelectorLabels" -}}
app.kubernetes.io/name: {{ include "fedid.name" . | trunc 57 | trimSuffix "-" }}-check
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fedid.checkLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "fedid.checkSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Where nobody is to make accounts or roles but the platform team, the operator's account looks: it may list. */ -}}
{{- define "fedid.hasUninstallAccount" -}}
{{- if and .Values.uninstallCheck.enabled .Values.rbac.create .Values.serviceAccount.create }}true{{ end -}}
{{- end -}}

{{- define "fedid.uninstallAccountName" -}}
{{- if include "fedid.hasUninstallAccount" . -}}
{{ include "fedid.fullname" . }}-uninstall
{{- else -}}
{{ include "fedid.serviceAccountName" . }}
{{- end -}}
{{- end -}}

{{- define "fedid.operatorUrl" -}}
{{- if .Values.installationCheck.operatorUrl -}}
{{ .Values.installationCheck.operatorUrl }}
{{- else if .Values.replicaCount -}}
http://{{ include "fedid.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.health.port }}
{{- end -}}
{{- end -}}

{{- /* What all pods of the chart have in common: no root, no capability, where they run. */ -}}
{{- define "fedid.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.securityContext.runAsUser }}
  runAsGroup: {{ .Values.securityContext.runAsGroup }}
  fsGroup: {{ .Values.securityContext.runAsGroup }}
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "fedid.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "fedid.placement" -}}
hostNetwork: {{ .Values.hostNetwork }}
dnsPolicy: {{ .Values.dnsPolicy }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "fedid.env" -}}
- name: FEDID_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: FEDID_WATCH_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
{{- if .Values.apiServer.host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ .Values.apiServer.host | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ .Values.apiServer.port | quote }}
{{- end }}
{{- end -}}

{{- define "fedid.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "fedid.subjects" -}}
- kind: ServiceAccount
  name: {{ include "fedid.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* What the operator does in a namespace that it serves, beside our own kinds. */ -}}
{{- define "fedid.tenantRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
# To tell pods that what they mount has changed: one annotation, and admission (pod-policy.yaml) keeps it at that.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
# To restart what reads its credential at its start only (reload: Restart): two annotations of the pod template, and
# admission (workload-policy.yaml) keeps it at that.
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, patch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get]
{{ include "fedid.eventRules" . }}
{{- end -}}

{{- define "fedid.eventRules" -}}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "fedid.egress" -}}
- ports: # DNS
  - {port: 53, protocol: UDP}
  - {port: 53, protocol: TCP}
{{- with .Values.networkPolicy.egress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* What a pod asks for by its annotations, in CEL; both policies of the injection read it alike. */ -}}
{{- define "fedid.injectionVariables" -}}
- name: secret
  expression: >-
    object.metadata.annotations[?'fedid.io/secret'].orValue(object.metadata.annotations['fedid.io/identity'])
- name: path
  expression: >-
    object.metadata.annotations[?'fedid.io/mount-path'].orValue('/var/run/secrets/fedid.io/credential')
- name: volumes
  expression: object.spec.?volumes.orValue([])
- name: mounted
  expression: variables.volumes.filter(v, v.?secret.?secretName.orValue('') == variables.secret)
{{- end -}}
